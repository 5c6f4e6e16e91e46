"""The command ``sagan``: parse, call one function, print; heavy imports inside the commands."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter
from cyclopts.argument import update_argument_collection

from sagan import config as settings
from sagan.config import Config
from sagan.errors import SaganError
from sagan.presets import preset as named_preset

DEFAULT_PRESET = "avatars32"


def _read_settings(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuses fractions of whole numbers, and puts the preset or file below the flags of train."""
    for argument in arguments:
        for token in argument.tokens:
            whole = argument.hint in (int, int | None, tuple[int, ...])
            if whole and token.value and not re.fullmatch(r"[+-]?\d+", token.value):
                raise SaganError(f"{argument.name} must be a whole number, not {token.value!r}")
    if commands != ("train",):
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


@app.command
def train(
    preset: str | None = None,
    /,
    *,
    run: Path,
    print_config: Annotated[bool, Parameter(negative=())] = False,
    config: Annotated[Config, Parameter(name="*")] = Config(),
) -> None:
    """Train a model in a run folder; the same command again continues exactly where it stopped.

    Parameters
    ----------
    preset
        Name of a preset or path of a .toml file; flags go on top. Without it, the settings of the
        run folder, or of avatars32 for a new one.
    run
        The run folder: settings, log, samples and checkpoints.
    print_config
        Print the resulting settings as TOML and stop.
    config
        Everything that decides the run.
    """
    if print_config:
        print(settings.to_toml(config), end="")
        return
    from sagan.training.driver import Driver

    driver = Driver(config, run)
    if driver.state.step:
        print(f"continuing {run} at step {driver.state.step}", file=sys.stderr)
    outcome = driver.train()
    print(driver.run.checkpoint_path(outcome.steps))
    print(driver.run.sample_path(outcome.steps))


def _parse_seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", piece)
        if match is None:
            raise SaganError(f"seeds {text!r} are no list like 0-63 or 3,7,20-29")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise SaganError(f"seeds {piece.strip()} run backwards; write {last}-{first}")
        if last - first >= 100_000:
            raise SaganError(f"seeds {piece.strip()} are more than 100,000; ask for fewer")
        seeds += range(first, last + 1)
    return seeds


@app.command
def sample(
    model: Path,
    /,
    *,
    class_name: Annotated[tuple[str, ...], Parameter(name="--class", negative=())] = (),
    seeds: str | None = None,
    truncation: float | None = None,
    columns: int = 8,
    scale: int = 1,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("grid.png"),
) -> None:
    """Draw a grid of pictures; the same seed and class give the same picture every time.

    Parameters
    ----------
    model
        A run folder, a checkpoint or an exported file.
    class_name
        What to draw; repeat the flag for several, each beginning a new row. All classes by default.
    seeds
        Which pictures, such as 0-63 or 3,7,20-29. By default 0-63 for one class, 0-7 for several.
    truncation
        Cut the noise off at this many standard deviations: fewer surprises, less variety.
    columns
        Pictures in a row.
    scale
        Enlarge every pixel this many times.
    output
        The PNG file to write.
    """
    import numpy as np

    from sagan import images
    from sagan.sampling import load_generator

    for name, value in (("columns", columns), ("scale", scale)):
        if value < 1:
            raise SaganError(f"--{name} {value} is out of range; it must be at least 1")
    generator = load_generator(model)
    labels = class_name or generator.class_names or (None,)
    chosen = _parse_seeds(seeds or ("0-63" if len(labels) == 1 else "0-7"))
    rows = []
    for label in labels:
        pictures = generator.sample(chosen, label, truncation=truncation)
        missing = -len(pictures) % min(columns, len(chosen))
        rows.append(np.pad(pictures, ((0, missing), *[(0, 0)] * 3), constant_values=255))
    sheet = images.grid(np.concatenate(rows), min(columns, len(chosen)))
    print(images.save_png(images.enlarge(sheet, scale), output))


def _parse_point(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(-?\d+),(-?\d+)", text.replace(" ", ""))
    if match is None:
        raise SaganError(f"point {text!r} is no pair of pixels like 12,20 (x, then y)")
    return int(match[1]), int(match[2])


@app.command
def attention(
    model: Path,
    /,
    *,
    class_name: Annotated[str | None, Parameter(name="--class")] = None,
    seed: int = 0,
    at: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    resolution: int | None = None,
    truncation: float | None = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("attention.png"),
) -> None:
    """Draw where points of a generated picture look, as the SAGAN paper's Figure 1 does.

    Parameters
    ----------
    model
        A run folder, a checkpoint or an exported file.
    class_name
        Which class to draw; the first by default.
    seed
        Which picture.
    at
        A query point in pixels, as x,y from the upper left; repeat the flag for several. Chosen
        automatically by default.
    resolution
        Which attention layer, by the side of its map; the finest by default.
    truncation
        As for sample.
    output
        The PNG file to write.
    """
    from sagan import images
    from sagan.inspection import attention_figure_of
    from sagan.sampling import load_generator

    figure = attention_figure_of(
        load_generator(model),
        seed,
        class_name,
        points=[_parse_point(point) for point in at] or None,
        resolution=resolution,
        truncation=truncation,
    )
    print(images.save_png(figure, output))


@app.command
def export(model: Path, /, *, output: Annotated[Path, Parameter(name=["--output", "-o"])]) -> None:
    """Write the averaged generator and the discriminator alone: a small file for use elsewhere.

    Parameters
    ----------
    model
        A run folder or a checkpoint.
    output
        The .safetensors file to write.
    """
    from sagan.checkpoint import save
    from sagan.runs import load_checkpoint
    from sagan.sampling import for_inference

    checkpoint, _ = load_checkpoint(model)
    save(for_inference(checkpoint), output)
    print(output)


@app.command
def demo(*, run: Path = Path("runs/demo"), steps: int | None = None) -> None:
    """Train the avatars32 preset for about three minutes on two cores and draw what it learned.

    Parameters
    ----------
    run
        The run folder; pictures and summary go there too.
    steps
        Generator updates, for a shorter or longer demonstration.
    """
    from sagan.demo import run_demo

    print(run_demo(run, steps), end="")


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: a mistake is one line on stderr and exit code 2."""
    warnings.showwarning = lambda message, *_: print(f"sagan: {message}", file=sys.stderr)
    try:
        return app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        message = " ".join(str(error).split())
    except SaganError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or 'the system'}: {error.strerror or error}; mend that first"
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "stopped", file=sys.stderr)
        raise SystemExit(130) from None
    print(f"sagan: {message}", file=sys.stderr)
    raise SystemExit(2)
