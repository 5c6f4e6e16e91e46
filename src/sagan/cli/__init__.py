"""The command ``sagan``: parse, call one function, print; heavy imports inside the commands."""

from sagan.cli import (
    ablating,
    attention,
    converting,
    evaluation,
    exporting,
    pictures,
    presets,
    reporting,
    training,
)
from sagan.cli.program import app, main

__all__ = [
    "ablating",
    "app",
    "attention",
    "converting",
    "evaluation",
    "exporting",
    "main",
    "pictures",
    "presets",
    "reporting",
    "training",
]
