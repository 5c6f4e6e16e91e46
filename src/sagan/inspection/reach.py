"""How much attention goes far, against attention that weighs all places alike, over training."""

import csv
import io
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagan.errors import SaganError, printable
from sagan.inspection.statistics import (
    MEAN,
    PICTURES,
    LayerStatistics,
    labels_to_measure,
    measure_all,
    networks_of,
    shown_images,
)
from sagan.inspection.timeline import evenly_read
from sagan.runs.folder import checkpoint_files, is_run
from sagan.runs.run import load_checkpoint, require_run
from sagan.runs.seeds import runs_of_seeds
from sagan.system.spacing import with_both_ends

MOST_READ = 40
"""Checkpoints of a run."""
_MOST_SHOWN = 6  # steps in a printed table


@dataclass(frozen=True, kw_only=True)
class LayerReach:
    """How far one attention layer looks over training, in runs that differ in their seed alone."""

    variant: str
    """What these runs are called."""
    network: str
    """generator or discriminator."""
    place: str
    """Of the layer, such as 16 x 16."""
    pictures: str
    """Which it was shown."""
    uniform: float
    """Share of uniform attention that lies beyond the 8 x 8 places around the query, 0..1."""
    shares: Mapping[str, Mapping[int, Sequence[float]]]
    """Class (first :data:`MEAN`) -> step -> the layer's own share in each run, 0..1."""

    def over_uniform(self, name: str) -> dict[int, tuple[float, ...]]:
        """The shares of a class over that of uniform attention: above 1 it prefers what is far.

        NaN where the map is so small that no place lies outside.
        """
        uniform = self.uniform or math.nan
        steps = self.shares[name].items()
        return {step: tuple(share / uniform for share in runs) for step, runs in steps}


def attention_reach(
    folder: str | Path,
    *,
    count: int = PICTURES,
    label: str | int | None = None,
    layer: int | str | None = None,
) -> list[LayerReach]:
    """Measures the share of attention beyond the 8 x 8 places around a query, over the checkpoints.

    Every query of ``count`` pictures of each class counts: generated ones of the same seeds in the
    generator, the same real ones in the discriminator. Of more than 40 checkpoints it takes 40
    evenly spaced ones; ``train.keep_checkpoints`` says how many a run keeps.

    Args:
        folder: A run folder, or one of ``sagan ablate``, whose runs without attention are left
            out. Of runs that differ in their seed alone, the steps that all of them have count.
        count: Pictures of each class.
        label: Only this class, by name or number; None takes all.
        layer: Only layers whose map has this side, or the one of this name; None takes all.

    Raises:
        SaganError: There is no run, no checkpoint or no attention (there), the class is unknown, or
            the count below 1.
    """
    folder = Path(folder)
    found = []
    variants = _variants(folder)
    for name, runs in variants.items():
        if len(variants) == 1 or _has_attention(runs[0], layer):
            measured = [_layers_by_step(run, count, label, layer) for run in runs]
            found += _joined(name, measured)
    if not found:
        raise SaganError(f"no run in {folder} has attention (there); choose another --resolution")
    return found


def _variants(folder: Path) -> dict[str, list[Path]]:
    if is_run(folder) or not folder.is_dir():
        return {printable(folder.resolve().name): [folder]}
    found = {name: list(seeds.values()) for name, seeds in runs_of_seeds(folder).items()}
    begun = {name: [run for run in runs if checkpoint_files(run)] for name, runs in found.items()}
    return {name: runs for name, runs in begun.items() if runs} or {folder.name: [folder]}


def _has_attention(run: Path, layer: int | str | None) -> bool:
    try:
        return bool(networks_of(load_checkpoint(run)[0], layer))
    except SaganError:
        return False


def _layers_by_step(
    run: Path, count: int, label: str | int | None, layer: int | str | None
) -> dict[int, list[LayerStatistics]]:
    """The layers of a run, by step."""
    require_run(run)
    last, _ = load_checkpoint(run)
    labels = labels_to_measure(last, label, count)
    networks_of(last, layer)
    shown = shown_images(last, labels, count)
    return {
        checkpoint.step: measure_all(networks_of(checkpoint, layer), labels, count, shown, layer)
        for checkpoint in evenly_read(checkpoint_files(run), MOST_READ)
    }


def _joined(
    variant: str, runs: Sequence[Mapping[int, Sequence[LayerStatistics]]]
) -> Iterator[LayerReach]:
    steps = sorted(set.intersection(*(set(run) for run in runs)))
    if not steps:
        raise SaganError(f"the runs of {variant} have no checkpoint of the same step")
    for number, layer in enumerate(runs[0][steps[0]]):
        shares = {
            name: {step: [run[step][number].rows[name].outside for run in runs] for step in steps}
            for name in layer.rows
        }
        yield LayerReach(
            variant=variant,
            network=layer.network,
            place=str(layer.place),
            pictures=layer.pictures,
            uniform=layer.uniform.outside,
            shares=shares,
        )


def reach_table(layers: Sequence[LayerReach]) -> str:
    """A table to print: per layer a row for the mean and each class, a column for some steps."""
    blocks = []
    for layer in layers:
        steps = list(layer.shares[MEAN])
        steps = [steps[place] for place in with_both_ends(len(steps), _MOST_SHOWN)]
        width = max(map(len, layer.shares))
        seeds = len(layer.shares[MEAN][steps[0]])
        many = f", {seeds} seeds" if seeds > 1 else ""
        lines = [
            f"{layer.variant}, {layer.network}, attention at {layer.place}, {layer.pictures} "
            f"pictures{many}; uniform: {layer.uniform:.1%} outside",
            " " * width + "".join(f"{f'step {step:,}':>16}" for step in steps),
        ]
        for name in layer.shares:
            over = layer.over_uniform(name)
            shown = [over[step] for step in steps]
            cells = [f"{statistics.mean(each):.3f}{_plus_minus(each)}" for each in shown]
            lines.append(f"{name:{width}}" + "".join(f"{cell:>16}" for cell in cells))
        blocks.append("\n".join(lines))
    legend = (
        "attention beyond the 8 x 8 places around the query, over that of uniform attention: "
        "above 1\nit prefers what is far, below 1 what is near; mean ± standard deviation over "
        "seeds"
    )
    return "\n\n".join([*blocks, legend])


def _plus_minus(numbers: Sequence[float]) -> str:
    return f" ± {statistics.stdev(numbers):.3f}" if len(numbers) > 1 else ""


def reach_csv(layers: Sequence[LayerReach]) -> str:
    """Every number: a line for each layer, class, step and run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = "variant,network,place,pictures,class,step,run,outside,uniform,over uniform"
    writer.writerow(columns.split(","))
    for layer in layers:
        named = (layer.variant, layer.network, layer.place, layer.pictures)
        for name, steps in layer.shares.items():
            over = layer.over_uniform(name)
            for step, runs in steps.items():
                for run, share in enumerate(runs):
                    numbers = share, layer.uniform, over[step][run]
                    writer.writerow((*named, name, step, run, *numbers))
    return text.getvalue()
