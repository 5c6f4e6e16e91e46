"""Commands about pictures to learn from: data, pack."""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter

from sagan.cli.parsing import OUTPUT, SWITCH, require_range
from sagan.cli.program import DEFAULT_PRESET, app, named_pictures
from sagan.config import DataConfig, GeneratorConfig, plan
from sagan.config.presets import PRESETS, preset
from sagan.errors import SaganError, printable
from sagan.system.files import require_output
from sagan.system.spacing import from_the_first
from sagan.system.tables import aligned

if TYPE_CHECKING:
    from sagan.data.cached import CachedPack
    from sagan.data.catalog import Catalog
    from sagan.data.looking import Look

_COLUMNS = 8
_MOST_ROWS = 16  # of classes
_MOST_SAMPLED = 100_000
_NAME = 12  # letters of a pack's name that are shown


@dataclass(frozen=True, kw_only=True)
class DataFlags(DataConfig):
    """The pictures and what is done to them, as for training."""

    resolution: int = 0
    """Height of the pictures in pixels; 0: 32."""

    def __post_init__(self) -> None:
        """Leaves the checks to :meth:`settings`."""

    def settings(self, source: str | None) -> DataConfig:
        """The settings, checked; the source may stand in the first place.

        Raises:
            SaganError: A value is out of range, no network has pictures of this size, or there is
                no source or two.
        """
        from sagan.data import BUILT_IN

        values = {item.name: getattr(self, item.name) for item in fields(self)}
        if self.source not in BUILT_IN:
            if source is not None:
                raise SaganError(f"{source} and --data.source both name pictures; leave one out")
            source = self.source
        if source is None:
            raise SaganError("which pictures? Give a folder, an archive or another source")
        if source in PRESETS and not Path(source).exists():
            raise SaganError(f"{source} is a preset; give the pictures, such as a folder")
        if source in BUILT_IN:
            raise SaganError(f"{source} is built in and needs no look; give pictures of your own")
        named_pictures(source)  # refuses a run folder
        resolution = self.resolution or preset(DEFAULT_PRESET).data.resolution
        config = DataConfig(**{**values, "source": source, "resolution": resolution})
        plan(GeneratorConfig(attention=()), config.size)  # refuses what no network has
        return config


@app.command
def data(
    source: str | None = None,
    /,
    *,
    data: DataFlags = DataFlags(),
    sample: int | None = None,
    json: Annotated[bool, SWITCH] = False,
    cache: Annotated[bool, SWITCH] = False,
    clear_cache: Annotated[str | None, Parameter(show_default=False)] = None,
    output: Annotated[Path | None, OUTPUT] = None,
) -> None:
    """Tell what pictures there are and what will be done to them, before anything is trained.

    Parameters
    ----------
    source
        The pictures, as for --data.source.
    sample
        Look only at so many pictures, evenly chosen; by default at all, which are packed into the
        cache, where training finds them.
    json
        Print everything as JSON.
    cache
        List what is packed in the cache instead.
    clear_cache
        Remove from the cache what was packed: a name of --cache, or all.
    output
        A contact sheet to write, .png: pictures of every class, as the network sees them.
    """
    if cache or clear_cache is not None:
        if (source, data, sample, json, output) != (None, DataFlags(), None, False, None):
            raise SaganError("--cache and --clear-cache look at the cache alone; give nothing else")
        print(_cleared(clear_cache) if clear_cache is not None else _cached())
        return
    require_range("--sample", sample, 1, _MOST_SAMPLED)
    from sagan.data.survey_text import survey_as_json, text

    config = data.settings(source)
    _require_sheet(output, config.source)
    looked = _look_and_note(config, sample)
    _note_resolution(data, config, looked.sensible_resolution)
    if json:
        print(json_text.dumps(survey_as_json(looked.survey), indent=1))
    else:
        print(text(looked.survey, wide=True))
    if output is not None:
        print(_save_sheet(looked, output), file=sys.stderr if json else sys.stdout)


def _require_sheet(output: Path | None, source: str) -> None:
    if output is None:
        return
    require_output(output, ".png")
    if Path(source).resolve() in output.resolve().parents:
        raise SaganError(f"{output} would be one of the pictures; choose another place")


@app.command
def pack(
    source: str | None = None,
    /,
    *,
    data: DataFlags = DataFlags(),
    output: Annotated[Path, OUTPUT] = Path("pictures.sagan"),
) -> None:
    """Write pictures of any kind into one file, ready for train, evaluate and other machines.

    Parameters
    ----------
    source
        The pictures, as for --data.source.
    output
        The file to write, .sagan.
    """
    require_output(output, ".sagan")
    from sagan.data.looking import resolution_reached, survey_of
    from sagan.data.opening import catalog_of, load_dataset
    from sagan.data.portable import write_portable
    from sagan.data.survey_text import warnings_of

    config = data.settings(source)
    whole = catalog_of(config)
    _note_packing(config, whole)
    dataset = load_dataset(config, catalog=whole)
    for note in warnings_of(survey_of(dataset, config)):
        print(f"note: {note}", file=sys.stderr)
    _note_resolution(data, config, resolution_reached(dataset))
    write_portable(dataset, output)
    print(output)


def _look_and_note(config: DataConfig, sample: int | None) -> Look:
    from sagan.data import catalog_of
    from sagan.data.looking import look

    whole = catalog_of(config)
    if sample is None:
        _note_packing(config, whole)
    return look(config, sample, whole)


def _note_packing(config: DataConfig, whole: Catalog) -> None:
    from sagan.data.looking import packing_note

    if note := packing_note(config, whole):
        print(f"note: {note}; sagan data --sample 1000 looks at some", file=sys.stderr)


def _note_resolution(flags: DataFlags, config: DataConfig, sensible: int) -> None:
    """Says so where nobody chose the resolution and the pictures reach a larger one."""
    if not flags.resolution and sensible > config.resolution:
        side = config.resolution
        print(
            f"note: {side} x {side} is what sagan train PICTURES takes; most of these reach "
            f"{sensible}: add --data.resolution {sensible} here and there",
            file=sys.stderr,
        )


def _save_sheet(looked: Look, output: Path) -> Path:
    from sagan.data.survey_text import rule_text
    from sagan.images import save_png
    from sagan.images.contact import contact_sheet

    if not len(looked.images):
        raise SaganError("none of these pictures can be read, so that there is no sheet to draw")
    title = printable(f"{looked.survey.source}: {rule_text(looked.survey)}")
    return save_png(contact_sheet(_sheet_rows(looked), columns=_COLUMNS, title=title), output)


def _sheet_rows(looked: Look) -> list[tuple[str, str, np.ndarray]]:
    """Name, number and pictures of each class, evenly chosen; without classes many pictures."""
    classes = list(looked.survey.classes.items())
    if not classes:
        return [
            ("", "", looked.images[from_the_first(len(looked.images), _MOST_ROWS // 2 * _COLUMNS)])
        ]
    rows = []
    present = np.unique(looked.labels)
    for number in present[from_the_first(len(present), _MOST_ROWS)]:
        name, count = classes[number]
        own = np.flatnonzero(looked.labels == number)
        remark = f"{count:,} pictures" if count != 1 else "1 picture"
        rows.append((name, remark, looked.images[own[from_the_first(len(own), _COLUMNS)]]))
    return rows


def _cached() -> str:
    from sagan.data.cached import cached_packs
    from sagan.data.dataset import cache_folder
    from sagan.system.memory import readable

    packs = cached_packs()
    if not packs:
        return f"nothing is packed in {cache_folder()}"
    rows = [("name", "pictures", "height x width", "size", "packed on", "source")]
    rows += [(one.path.stem[:_NAME], *_cells_of(one)) for one in packs]
    total = sum(one.size for one in packs)
    lines = map(printable, aligned(rows, "<" * len(rows[0])))
    return "\n".join([*lines, f"{readable(total)} in {cache_folder()}"])


def _cells_of(one: CachedPack) -> tuple[str, ...]:
    """Pictures, height x width, size, day and source."""
    from sagan.system.memory import readable

    count, _, height, width = one.shape or (0, 0, 0, 0)
    shown = (f"{count:,}", f"{height} x {width}") if one.shape else ("?", "?")
    day = datetime.fromtimestamp(one.path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    source = "unfinished; packing again goes on with it" if one.is_draft else one.root or "?"
    return (*shown, readable(one.size), day, source)


def _cleared(name: str) -> str:
    from sagan.data.cached import cached_packs, clear
    from sagan.system.memory import readable

    packs = cached_packs()
    chosen = [one for one in packs if name in ("all", one.path.stem[:_NAME])]
    if not chosen and name != "all":
        raise SaganError(f"{name} is not in the cache; give all, or a name that --cache lists")
    return f"{readable(clear(chosen))} are free again"
