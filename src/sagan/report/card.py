"""A model as it is handed on: its weights, settings, a sheet of pictures, and a card."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sagan import config as settings
from sagan import images
from sagan.config import HUB, Config
from sagan.data.avatars import CREDITS
from sagan.data.opening import BUILT_IN
from sagan.errors import SaganError
from sagan.report.rendering import rendered
from sagan.report.tables import Table, read_records, tables_of
from sagan.runs.checkpoint import Checkpoint, save
from sagan.runs.folder import CHECKPOINTS, SETTINGS
from sagan.runs.hub import MODEL_FILE
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import (
    TrainedGenerator,
    averaged_part,
    for_inference,
    generator_of,
    shown_classes,
)
from sagan.sampling.sets import SampleSet, named_grid
from sagan.system.files import write_text, writing

_SEEDS_SHOWN = 8
_LICENCE = re.compile(r"[a-z][a-z0-9.-]{0,63}")


def require_licence(licence: str) -> None:
    """Judges the name of a licence.

    Raises:
        SaganError: It is not written as the hub names licences.
    """
    if not _LICENCE.fullmatch(licence):
        raise SaganError(
            f"{licence!r} is no licence as the hub names them; write one such as mit, apache-2.0, "
            "cc-by-4.0 or other"
        )


def write_model_folder(
    model: str | Path, folder: Path, repository: str, *, licence: str, discriminator: bool = False
) -> list[Path]:
    """Writes what a repository of the hub gets.

    That is ``model.safetensors``, ``config.toml``, ``samples.png`` and ``README.md``, the card. No
    path of this machine is in them: of the place of the training pictures its name alone remains.

    Args:
        model: A run folder or a checkpoint.
        folder: Where to, made if need be.
        repository: owner/name, under which the card tells to load it.
        licence: Of the model, as the hub names licences.
        discriminator: Hand on the discriminator too.

    Returns:
        The files.

    Raises:
        SaganError: The model cannot be read, or the files cannot be written.
    """
    require_licence(licence)
    whole, file = load_checkpoint(model)
    handed = _handed_on(whole, discriminator)
    generator = generator_of(handed)
    paths = [folder / name for name in (MODEL_FILE, SETTINGS, "samples.png", "README.md")]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save(handed, paths[0])
        write_text(paths[1], settings.to_toml(handed.config))
        images.save_png(_named_pictures(generator), paths[2])
        facts = {
            **_facts_of(handed, generator, repository),
            "licence": licence,
            "is_averaged": averaged_part(whole) != "generator",
            "tables": _tables(file, whole.step),
        }
        card = rendered("report/card.md", facts)
        write_text(paths[3], re.sub(r"\n{3,}", "\n\n", card))
    return paths


def plain_source(source: str) -> str:
    """What the pictures are called without saying where they lie on this machine."""
    if source.startswith(HUB) or source in BUILT_IN:
        return source
    name = next((name for name in reversed(re.split(r"[\\/]", source)) if name.strip(".~")), "own")
    return f"./{name}" if name in BUILT_IN else name


def _handed_on(checkpoint: Checkpoint, discriminator: bool) -> Checkpoint:
    config = checkpoint.config
    config = replace(
        config,
        data=replace(config.data, source=plain_source(config.data.source)),
        evaluation=replace(config.evaluation, weights=""),
    )
    kept = for_inference(checkpoint)
    if discriminator and "discriminator" not in kept.parts:
        raise SaganError("the model has no discriminator; leave --discriminator out")
    parts = {k: part for k, part in kept.parts.items() if discriminator or k != "discriminator"}
    return replace(kept, config=config, parts=parts)


def _named_pictures(generator: TrainedGenerator) -> np.ndarray:
    """Pictures of every class shown, with its name; without classes a square of them."""
    labels = shown_classes(generator) or [None]
    seeds = range(_SEEDS_SHOWN if generator.class_names else _SEEDS_SHOWN**2)
    return named_grid(SampleSet(generator, seeds, labels), _SEEDS_SHOWN)


def _facts_of(
    checkpoint: Checkpoint, generator: TrainedGenerator, repository: str
) -> dict[str, Any]:
    """What the card tells of the model itself."""
    config, names = checkpoint.config, checkpoint.class_names
    seen = checkpoint.step * config.train.pictures_per_step
    height, width = generator.size
    return {
        "title": repository.partition("/")[2],
        "name": HUB + repository,
        "what": {1: "grey pictures", 3: "pictures", 4: "transparent pictures"}[generator.channels],
        "channels": generator.channels,
        "height": height,
        "width": width,
        "class_names": names,
        "rows": [names[number] for number in shown_classes(generator)],
        "columns": _SEEDS_SHOWN,
        "example": f", {json.dumps(names[0])}" if names else "",
        "has_discriminator": "discriminator" in checkpoint.parts,
        "source": config.data.source,
        "credits": CREDITS if config.data.source in BUILT_IN else "",
        "attention": [
            f"{place.height} x {place.width}"
            for place in (generator.attention_layers() if generator.has_attention() else ())
        ],
        "seen": seen,
        "step": checkpoint.step,
        "loss": _loss(config),
        "seed": config.train.seed,
        "versions": checkpoint.versions,
    }


def _loss(config: Config) -> str:
    """The loss in words: hinge; relativistic non-saturating, r1 0.2, r2 0.2."""
    loss = config.loss
    name = f"relativistic {loss.name}" if loss.relativistic else loss.name
    weights = {key: getattr(loss, key) for key in ("gradient_penalty", "r1", "r2", "lecam")}
    return ", ".join([name, *(f"{key} {weight:g}" for key, weight in weights.items() if weight)])


def _tables(file: Path, step: int) -> list[Table]:
    """What was measured of a checkpoint of a run; nothing of a file elsewhere."""
    if file.parent.name != CHECKPOINTS:
        return []
    records, _ = read_records(file.parent.parent)
    return tables_of([record for record in records if record.subject.get("step") == step])
