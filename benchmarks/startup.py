"""Section startup: fresh processes."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.harness import Side, Suite
from benchmarks.options import Options

COMMANDS = {
    "sagan --help": ("-m", "sagan", "--help"),
    "import sagan": ("-c", "import sagan"),
    "import torch": ("-c", "import torch"),
}


def startup(suite: Suite, options: Options) -> None:
    """Our command and our package, beside PyTorch alone."""
    del options
    sides = [
        Side(
            name=name,
            call=partial(
                subprocess.run,
                [sys.executable, *arguments],
                check=True,
                stdout=subprocess.DEVNULL,
            ),
        )
        for name, arguments in COMMANDS.items()
    ]
    suite.compare("startup", "fresh process", sides)
