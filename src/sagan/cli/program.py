"""The program itself: its settings from presets and files, and how it ends."""

import gc
import io
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cyclopts import UNSET, App, ArgumentCollection, CycloptsError, MissingArgumentError
from cyclopts.argument import update_argument_collection

from sagan import config as settings
from sagan.config import Config
from sagan.config.presets import PRESETS, named_settings
from sagan.errors import FaultError, SaganError, StoppedError, printable
from sagan.runs.folder import is_run, settings_of
from sagan.runs.named import shipped_names
from sagan.system.files import is_fault
from sagan.system.ranks import rank_of_torchrun
from sagan.system.streams import outliving_readers, replace_closed_streams
from sagan.system.threads import sleep_while_waiting

DEFAULT_PRESET = "avatars32"
_ALONE = (("ablate",), ("demo",))
"""Commands that several processes would make in each other's way."""
_INTERRUPTED = 130
"""Ctrl-C where nothing was to be saved, as in a shell."""
_ENDLESS = re.compile(r"(\S{100})\S{400,}(\S{100})")
"""A word that no screen holds, of which the ends are shown."""


def _require_sense(flag: str, kind: Any, text: str) -> None:
    """Refuses what no flag wants: fractions of whole numbers, numbers without bound, devices."""
    if not text.strip() and kind is not str:
        raise SaganError(f"{flag} is empty; give a value or leave it out")
    if kind in (int, int | None, tuple[int, ...]) and not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise SaganError(f"{flag} must be a whole number of up to 18 digits, not {text!r}")
    if kind in (Path, Path | None, tuple[Path, ...]):
        if os.path.exists(text) and not (os.path.isfile(text) or os.path.isdir(text)):
            raise SaganError(f"{flag} {text} is a device or a pipe; give a file or a folder")
        if text != text.encode(errors="ignore").decode():
            raise SaganError(f"{flag} {text} has bytes in its name that are no UTF-8; rename it")
    if kind in (float, float | None):
        try:
            is_finite = math.isfinite(float(text))
        except ValueError:
            return  # refused by name later
        if not is_finite:
            raise SaganError(f"{flag} must be a finite number, not {text!r}")


def named_pictures(chosen: str | None) -> str | None:
    """What stands in the place of a preset, where it is pictures.

    That is a built-in source, or what is no preset and no .toml file, and is there or is written
    like a place.

    Raises:
        SaganError: It is a run folder or a model.
    """
    from sagan.data import BUILT_IN

    if chosen is None or chosen in PRESETS:
        return None
    if chosen in BUILT_IN:
        return chosen
    path = Path(chosen).expanduser()
    if chosen in shipped_names():
        if not path.exists():
            raise SaganError(
                f"{chosen} is a model, not pictures or settings; begin a run with its weights: "
                f"--from {chosen} --run NEW"
            )
        print(f"note: {chosen} is taken for ./{chosen}, not for the model", file=sys.stderr)
    if is_run(path):
        raise SaganError(
            f"{chosen} is a run folder; continue it with --run {chosen}, or begin another "
            f"run with its weights: --from {chosen} --run NEW"
        )
    if path.suffix == ".toml" and not path.is_dir():
        return None
    is_place = chosen.startswith((settings.HUB, "~")) or path.suffix != "" or os.sep in chosen
    return chosen if is_place or path.exists() else None


def _note_pictures(name: str, source: str, given: Mapping[str, Sequence[str]]) -> None:
    """Refuses a preset without the pictures it is for; showing its settings is no harm."""
    if Path(name).exists():
        print(f"note: {name} is the preset; the pictures are ./{name}", file=sys.stderr)
    pictures = PRESETS[name].data
    if not pictures or given["--data.source"]:
        return
    if not given.get("--print-config") and not given.get("--dry-run"):
        raise SaganError(f"{name} is for {pictures}; give them with --data.source PICTURES")
    print(f"note: {name} is for {pictures}; this is for {source}", file=sys.stderr)


def _settings_below_flags(chosen: str | None, given: Mapping[str, Sequence[str]]) -> Config:
    """The settings that a preset, a file, the run or the model to begin from brings along."""
    pictures = named_pictures(chosen)
    run, model = (next(iter(given.get(flag, ())), None) for flag in ("--run", "--from"))
    if run is not None and model is not None:
        from sagan.training.origin import run_settings

        source = pictures or next(iter(given["--data.source"]), None)
        return run_settings(None if pictures else chosen, run, source=source, start_from=model)
    if run is not None and is_run(run) and (chosen is None or pictures):
        base = settings_of(run)
    else:
        base = named_settings(DEFAULT_PRESET if pictures else chosen or DEFAULT_PRESET)
    return replace(base, data=replace(base.data, source=pictures)) if pictures else base


def _read_settings(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Judges numbers where they enter, and puts the preset or file below the flags."""
    for argument in arguments:
        for token in argument.tokens:
            if token.implicit_value is UNSET:  # a value was typed
                _require_sense(argument.name, argument.hint, token.value)
    if rank_of_torchrun() is not None and commands in _ALONE:
        raise SaganError(f"sagan {commands[0]} runs in one process; start it without torchrun")
    if commands not in (("train",), ("ablate",)):
        return
    given = {argument.name: [token.value for token in argument.tokens] for argument in arguments}
    chosen = next(iter(given["PRESET"]), None)
    if given.get("--decided"):
        raise SaganError("there is no flag --decided; sagan train --help lists those there are")
    if given["--data.source"] and named_pictures(chosen):
        raise SaganError(f"{chosen} and --data.source both name pictures; leave one out")
    base = _settings_below_flags(chosen, given)
    if chosen in PRESETS:
        _note_pictures(chosen, base.data.source, given)
    architectures = {
        network: {"architecture": typed[0]}
        for network in ("generator", "discriminator")
        if (typed := given[f"--{network}.architecture"])
    }
    values: dict[str, Any] = settings.joined(settings.to_dict(base), architectures)
    values["decided"] = [_field(flag) for flag, typed in given.items() if typed and "." in flag]
    # What cyclopts' own config sources do, which would take the section "train" for the command.
    update_argument_collection(
        values,
        chosen or "settings",
        arguments,
        app.app_stack.stack[-1],
        root_keys=(),
        allow_unknown=False,
    )


def _field(flag: str) -> str:
    """The setting that a flag gives: optimizer.generator_lr."""
    return flag.removeprefix("--").replace("-", "_")


app = App(
    name="sagan",
    help="Self-Attention GANs: train on your own pictures, see what the attention looks at.",
    config=_read_settings,
    suppress_keyboard_interrupt=False,
)


@contextmanager
def loading() -> Iterator[None]:
    """Around imports of PyTorch: an eighth of their time would look for unreachable objects."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: a mistake is one line on stderr and exit code 2."""
    sleep_while_waiting()
    replace_closed_streams()
    warnings.showwarning = lambda message, *_: _say(str(message))
    code = SaganError.exit_code
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may be no text at all
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return result
    except MissingArgumentError as error:
        name = error.argument.name if error.argument else "a value"
        typed = sys.argv[1:] if arguments is None else arguments
        message = f"{name} {'has no value' if name in typed else 'is needed'}; give it a value"
    except CycloptsError as error:
        message = " ".join(str(error).split())
        if message.startswith("Unused Tokens"):
            message += " quote a name with blanks, and repeat a flag for each of its values"
    except SaganError as error:
        message, code = str(error), error.exit_code
        if error.is_told:
            raise SystemExit(code) from None
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        code = FaultError.exit_code if is_fault(error) else code
        message = f"{error.filename or 'the system'}: {error.strerror or error}; mend that first"
    except RecursionError:
        message = "something here is nested too deeply, as thousands of brackets are; give less"
    except MemoryError:
        code = FaultError.exit_code
        message = "memory ran out; ask for less, or free memory"
    except KeyboardInterrupt as interruption:
        is_saved = isinstance(interruption, StoppedError)
        if not (is_saved and interruption.is_told):
            _print_last(str(interruption) or "stopped")
        raise SystemExit(interruption.exit_code if is_saved else _INTERRUPTED) from None
    _say(message)
    raise SystemExit(code)


def _say(message: str) -> None:
    rank = rank_of_torchrun()
    who = f"rank {rank}: " if rank else ""
    message = _ENDLESS.sub(r"\1...\2", printable(message))
    _print_last(f"{who}sagan: {message}")


def _print_last(line: str) -> None:
    """Prints to standard error; the exit code is the same where nobody is left to read it."""
    with outliving_readers():
        print(line, file=sys.stderr)
