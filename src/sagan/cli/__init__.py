"""The command ``sagan``: parse, call one function, print; heavy imports inside the commands."""

# Each of these modules adds its commands to the program.
from sagan.cli import (  # noqa: F401
    attention,
    converting,
    data,
    evaluation,
    models,
    pictures,
    presets,
    publishing,
    runs,
    serving,
    studio,
    training,
)
from sagan.cli.program import app as app
from sagan.cli.program import main as main
