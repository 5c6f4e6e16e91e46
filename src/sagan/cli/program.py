"""The program itself: its settings from presets and files, and how it ends."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, CycloptsError
from cyclopts.argument import update_argument_collection

from sagan import config as settings
from sagan.config.presets import PRESETS
from sagan.config.presets import preset as named_preset
from sagan.errors import SaganError
from sagan.system.threads import sleep_while_waiting

DEFAULT_PRESET = "avatars32"


def _read_settings(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuses fractions of whole numbers, and puts the preset or file below the flags."""
    for argument in arguments:
        for token in argument.tokens:
            whole = argument.hint in (int, int | None, tuple[int, ...])
            if whole and token.value and not re.fullmatch(r"[+-]?\d+", token.value):
                raise SaganError(f"{argument.name} must be a whole number, not {token.value!r}")
    if commands not in (("train",), ("ablate",)):
        return
    given = {argument.name: [token.value for token in argument.tokens] for argument in arguments}
    chosen = next(iter(given["PRESET"]), None)
    begun = Path(given["--run"][0], "config.toml") if given["--run"] else None
    if chosen is None and begun is not None and begun.exists():
        base = settings.load(begun)
    elif chosen is not None and chosen.endswith(".toml"):
        base = settings.load(chosen)
    else:
        base = named_preset(chosen or DEFAULT_PRESET)
    if chosen in PRESETS and PRESETS[chosen].data and not given["--data.source"]:
        pictures = PRESETS[chosen].data
        print(
            f"note: {chosen} is for {pictures}; without --data.source it learns from"
            f" {base.data.source}",
            file=sys.stderr,
        )
    # What cyclopts' own config sources do, which would take the section "train" for the command.
    update_argument_collection(
        settings.to_dict(base),
        chosen or "settings",
        arguments,
        app.app_stack.stack[-1],
        root_keys=(),
        allow_unknown=False,
    )


app = App(
    name="sagan",
    help="Self-Attention GANs: train on your own pictures, see what the attention looks at.",
    config=_read_settings,
    suppress_keyboard_interrupt=False,
)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: a mistake is one line on stderr and exit code 2."""
    sleep_while_waiting()
    warnings.showwarning = lambda message, *_: print(f"sagan: {message}", file=sys.stderr)
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return result
    except CycloptsError as error:
        message = " ".join(str(error).split())
    except SaganError as error:
        message = str(error)
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        message = f"{error.filename or 'the system'}: {error.strerror or error}; mend that first"
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "stopped", file=sys.stderr)
        raise SystemExit(130) from None
    print(f"sagan: {message}", file=sys.stderr)
    raise SystemExit(2)
