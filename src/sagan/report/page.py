"""The page: what a run folder holds, put into words, pictures and tables."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sagan import config as settings
from sagan.config import Config
from sagan.data import Dataset
from sagan.data.learned import load_learned
from sagan.errors import SaganError, printable
from sagan.images.chart import require_matplotlib
from sagan.inspection import attention_growth
from sagan.report import attended, sheets, verdict, viewer
from sagan.report.charts import draw_charts
from sagan.report.history import History, read_history
from sagan.report.neighbours import find_neighbours
from sagan.report.rendering import rendered
from sagan.report.tables import read_records, tables_of
from sagan.report.walks import walks
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.folder import checkpoint_files, settings_of
from sagan.runs.named import as_placed_now
from sagan.runs.run import load_checkpoint, require_run
from sagan.sampling.generator import (
    TrainedGenerator,
    generator_of,
    load_discriminator,
    varieties,
)
from sagan.system.files import write_text
from sagan.system.progress import progress

CONTENTS = {
    "verdict": "Verdict",
    "newest": "What it draws now",
    "timeline": "How it got there",
    "curves": "Curves",
    "attention": "Where the attention looks",
    "walks": "Between two pictures",
    "neighbours": "Nearest training pictures",
    "records": "Measured",
    "settings": "Settings",
}
"""Sections of the page by their name in it."""

_WITHOUT_PICTURES = "put them back, or call sagan report in the folder in which it was trained"

_Content = TypeVar("_Content")


class Section(NamedTuple):
    """A part of the page: its content, or the reason why it has none."""

    content: Any
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the page is made from."""

    folder: Path
    config: Config
    history: History
    checkpoint: Checkpoint | None
    generator: TrainedGenerator | None
    dataset: Dataset | None
    dataset_missing: str
    """Why there is no dataset."""

    @property
    def step(self) -> int:
        """How far the run is."""
        return max(self.history.step, self.checkpoint.step if self.checkpoint else 0)

    @property
    def pictures_seen(self) -> int:
        """Real pictures shown to the discriminator."""
        return self.step * self.config.train.pictures_per_step


def write_report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Writes one self-contained HTML file about a run, and returns its path.

    What cannot be shown, because pictures or a checkpoint are missing, is replaced by the reason.
    The file is ``report.html`` in the run folder unless ``output`` names another.

    Raises:
        SaganError: The folder is no run or holds neither log nor checkpoint, matplotlib is missing,
            or the file cannot be written.
    """
    folder = Path(folder)
    output = folder / "report.html" if output is None else Path(output)
    require_matplotlib()
    page = rendered("report/template.html", _facts(_gather(folder)))
    try:
        write_text(output, page)
    except OSError as error:
        raise SaganError(
            f"cannot write the report {output}: {error.strerror or error}; choose another --output"
        ) from error
    return output


def _gather(folder: Path) -> Material:
    require_run(folder)
    history = read_history(folder)
    checkpoint = generator = None
    if checkpoint_files(folder) or not history.step:
        checkpoint, _ = load_checkpoint(folder)
        generator = generator_of(checkpoint)
    config = checkpoint.config if checkpoint else settings_of(folder)
    mark = checkpoint.dataset_fingerprint if checkpoint else ""
    data = as_placed_now(config.data, folder)
    dataset = _section(load_learned, data, mark, "the run", _WITHOUT_PICTURES)
    return Material(
        folder=folder,
        config=config,
        history=history,
        checkpoint=checkpoint,
        generator=generator,
        dataset=dataset.content,
        dataset_missing=dataset.reason,
    )


def _section(make: Callable[..., _Content], *arguments: Any) -> Section:
    try:
        return Section(make(*arguments))
    except (SaganError, OSError) as error:
        return Section(None, str(error))


def _required(content: _Content | None, reason: str) -> _Content:
    if content is None:
        raise SaganError(reason)
    return content


def _sections(material: Material) -> dict[str, Section]:
    """The parts that are drawn, by name."""
    folder, dataset = material.folder, material.dataset
    reason = f"the training pictures cannot be had: {material.dataset_missing}"
    pictures = partial(_required, dataset, reason)
    drawing = partial(_required, material.generator, "there is no checkpoint yet to draw with")
    checkpoint = partial(_required, material.checkpoint, "there is no checkpoint yet")
    makers: dict[str, Callable[[], Any]] = {
        "newest": lambda: sheets.newest_sheet(drawing()),
        "timeline": lambda: sheets.timeline(folder, material.generator, material.config.data.size),
        "charts": lambda: draw_charts(material.history),
        "viewer": lambda: viewer.viewer_of_drawn(checkpoint()),
        "attention": lambda: attended.attention_figures(drawing()),
        "viewer_real": lambda: viewer.viewer_of_real(checkpoint(), pictures()),
        "attention_real": lambda: attended.attention_to_real(
            load_discriminator(folder), pictures()
        ),
        "attention_time": lambda: attended.grown(attention_growth(folder)),
        "walks": lambda: walks(drawing()),
        "neighbours": lambda: find_neighbours(drawing(), pictures()),
    }
    sections = dict[str, Section]()
    with progress("report", len(makers)) as advance:
        for name, make in makers.items():
            sections[name] = _section(make)
            advance()
    return sections


def _facts(material: Material) -> dict[str, Any]:
    """Everything the template shows, by name."""
    folder, config, history = material.folder, material.config, material.history
    dataset, sections = material.dataset, _sections(material)
    shown = None  # what the log says, where nothing can be measured now
    if material.generator and dataset:
        shown = varieties(material.generator, dataset)
    records, unreadable = read_records(folder)
    neighbours = sections["neighbours"].content
    return {
        **sections,
        "contents": CONTENTS,
        "gradient": viewer.heat_gradient(),
        "name": printable(folder.resolve().name),
        "path": printable(str(folder)),
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "material": material,
        "passes": material.pictures_seen / len(dataset) if dataset else None,
        "verdict": verdict.judge(
            history,
            pictures_seen=material.pictures_seen,
            varieties=shown,
            nearest_ratio=neighbours.ratio if neighbours else None,
            records=records,
            samples=config.evaluation.samples,
        ),
        "tables": tables_of(records),
        "unreadable": unreadable,
        "settings": settings.to_toml(config),
        "version": version("sagan"),
        "memorised_ratio": verdict.MEMORISED_RATIO,
    }
