"""What an exported file says of itself."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from sagan.data.avatars import CREDITS
from sagan.data.opening import BUILT_IN
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.named import shipped_of


def description(model: str | Path, checkpoint: Checkpoint) -> Mapping[str, str]:
    """Facts by name, each a text; lists are JSON.

    Args:
        model: As the user named it; one that comes along has a licence and credits.
        checkpoint: What it means.
    """
    data = checkpoint.config.data
    channels, height, width = data.shape
    facts = {
        "sagan_version": version("sagan"),
        "step": str(checkpoint.step),
        "class_names": json.dumps(checkpoint.class_names, ensure_ascii=False),
        "image_shape": json.dumps([channels, height, width]),
        "image_range": json.dumps([-1, 1]),
        "latent_dim": str(checkpoint.config.generator.latent_dim),
    }
    if card := shipped_of(model):
        return facts | {
            "model": card.name,
            "licence": card.licence,
            "credits": json.dumps(card.credits, ensure_ascii=False),
        }
    if data.source in BUILT_IN:
        return facts | {"credits": json.dumps([CREDITS], ensure_ascii=False)}
    return facts
