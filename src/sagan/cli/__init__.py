"""The command ``sagan``: parse, call one function, print; heavy imports inside the commands."""

from sagan.cli import attention, exporting, pictures, training
from sagan.cli.program import app, main

__all__ = ["app", "attention", "exporting", "main", "pictures", "training"]
