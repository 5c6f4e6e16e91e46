"""The command ``sagan``: parse, call one function, print; heavy imports inside the commands."""

from sagan.cli import attention, converting, evaluation, pictures, presets, training
from sagan.cli.program import app, main

__all__ = [
    "app",
    "attention",
    "converting",
    "evaluation",
    "main",
    "pictures",
    "presets",
    "training",
]
