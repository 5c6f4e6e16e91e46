"""Makes the two files of a model that comes with the package: checkpoint and card.

    python benchmarks/ship.py avatars64 runs/long --data.source avatars --trained-on "one GPU"

``src/sagan/shipped/NAME.toml`` must be there with its words (title, credits, limits); what
is counted or measured is renewed in it. The records are those of the end of the run's log, until
``--record`` names one of ``sagan evaluate NAME`` itself.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import tomlkit
import torch
from safetensors import safe_open
from torch import nn

from sagan.config import network_shape
from sagan.evaluation.record import read_record
from sagan.nn import advance
from sagan.nn.initialization import undrawn
from sagan.nn.residual import make_discriminator, make_generator
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint, restore_network
from sagan.runs.log import log_records
from sagan.runs.named import SHIPPED
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import for_inference, generator_of

POWER_ITERATIONS = 5_000  # after which singular vectors have followed rounded weights
PICTURES = 64
_MODELS = 4  # that might have been before rounding


def networks(checkpoint: Checkpoint) -> dict[str, nn.Module]:
    """Both networks with the weights of a checkpoint."""
    shape = network_shape(checkpoint.config.data, len(checkpoint.class_names))
    with undrawn():
        found = {
            "generator": make_generator(checkpoint.config.generator, **shape),
            "discriminator": make_discriminator(checkpoint.config.discriminator, **shape),
        }
    for part, network in found.items():
        restore_network(network, checkpoint.parts, part)
    return found


def shipped(checkpoint: Checkpoint, source: str) -> Checkpoint:
    """The averaged generator and the discriminator in half precision.

    Singular vectors are those of the rounded weights. The settings name the pictures as ``source``
    and leave device and precision to whoever trains on.
    """
    rounded = checkpoints.halved(for_inference(checkpoint))
    parts = {}
    for part, network in networks(rounded).items():
        advance(network, POWER_ITERATIONS)
        parts[part] = network.state_dict()
    config = checkpoint.config
    config = replace(
        config,
        data=replace(config.data, source=source),
        train=replace(config.train, device="auto", precision="auto"),
    )
    return checkpoints.halved(replace(rounded, parts=parts, config=config))


def before_rounding(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """A model in float32 that rounds to this one, which is in float16: drawn at random."""
    random = torch.Generator().manual_seed(seed)
    parts = {
        part: {
            name: tensor + _step(tensor) * (torch.rand(tensor.shape, generator=random) - 0.5)
            if tensor.ndim > 1
            else tensor
            for name, tensor in named.items()
        }
        for part, named in checkpoint.parts.items()
    }
    return replace(checkpoint, parts=parts)


def _step(tensor: torch.Tensor) -> torch.Tensor:
    """From each value to the next that float16 has."""
    exponent = tensor.abs().clamp(min=2.0**-14).log2().floor()
    return 2.0 ** (exponent - 10)


def rounding(originals: list[Checkpoint], short: Checkpoint, what: str) -> str:
    """What the pictures lose, in words; ``what`` says what they are compared with."""
    after = drawn(short)
    lost = np.concatenate([np.abs(drawn(model).astype(int) - after) for model in originals])
    return (
        f"no pixel of {PICTURES} pictures differs by more than {lost.max()} of 255 from {what}, "
        f"and {1e6 * (lost > 1).mean():.0f} in a million by more than 1"
    )


def drawn(checkpoint: Checkpoint) -> np.ndarray:
    """Pictures of all classes in turn."""
    classes = max(len(checkpoint.class_names), 1)
    return generator_of(checkpoint).sample(range(PICTURES), np.arange(PICTURES) % classes)


def is_half(path: Path) -> bool:
    """Whether a file has weights in float16."""
    with safe_open(path, framework="pt") as file:
        return any(file.get_tensor(key).dtype == torch.float16 for key in file.keys())  # noqa: SIM118


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data.source", dest="source", required=True)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--record", type=Path)
    asked = parser.parse_args()
    weights = asked.run / "weights.safetensors"
    checkpoint, path = load_checkpoint(weights if weights.exists() else asked.run)
    short = shipped(checkpoint, asked.source)
    originals, what = [for_inference(checkpoint)], "the model in float32"
    if is_half(path):
        originals = [before_rounding(short, seed) for seed in range(_MODELS)]
        what = f"{_MODELS} models in float32, drawn at random, that round to this one"
    file = SHIPPED / f"{asked.name}.safetensors"
    checkpoints.save(short, file)
    file.chmod(0o644)
    train, data = short.config.train, short.config.data
    card_path = SHIPPED / f"{asked.name}.toml"
    card = tomlkit.parse(card_path.read_text(encoding="utf-8"))
    if asked.record:
        record = read_record(asked.record)
        measured = {name: value.mean for name, value in record.values.items()}
    else:
        measured = [r["evaluation"] for r in log_records(asked.run) if "evaluation" in r][-1]
    card.update(
        size=list(data.size),
        channels=data.shape[0],
        class_names=list(short.class_names),
        steps=short.step,
        pictures_seen=short.step * train.pictures_per_step,
        seed=train.seed,
        trained_on=asked.trained_on,
        rounding=rounding(originals, short, what),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        records={name: round(value, 4) for name, value in measured.items()},
    )
    card_path.write_text(tomlkit.dumps(card), encoding="utf-8")
    print(card["rounding"], f"{file.stat().st_size / 1e6:.2f} MB", sep="\n")


if __name__ == "__main__":
    main()
