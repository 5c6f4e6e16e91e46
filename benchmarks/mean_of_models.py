"""Averages the generators of several models, all alike, and writes one model.

    python -m benchmarks.mean_of_models -o mean.safetensors runs/longest runs/earlier avatars64

Settings and discriminator are the first model's. The others have the same classes and the same
generator, but for the latent in every block: where they do not have it, its weights count as 0, as
they begin. Singular vectors and batch statistics are those of the mean. What it is good for: one
training after the other, each with a short average of its own (docs/lab/recipe.md).

Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.ship import POWER_ITERATIONS
from sagan.config import network_shape
from sagan.data import load_dataset
from sagan.errors import SaganError
from sagan.nn import advance
from sagan.nn.averaging import measure_batch_statistics
from sagan.nn.initialization import undrawn
from sagan.nn.residual import make_generator
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint, restore_network
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import for_inference
from sagan.system.randomness import Purpose, generator_at


@torch.no_grad()
def mean_of(models: list[Checkpoint], label_frequencies: torch.Tensor) -> Checkpoint:
    """The first model with the mean of all generators; ``label_frequencies`` (num_classes,)."""
    first = models[0]
    for other in models[1:]:
        _require_alike(first, other)
    mean = {
        name: sum(
            (model.parts["generator"].get(name, torch.zeros_like(tensor)) for model in models),
            start=torch.zeros_like(tensor),
        )
        / len(models)
        for name, tensor in first.parts["generator"].items()
    }
    shape = network_shape(first.config.data, len(first.class_names))
    with undrawn():
        generator = make_generator(first.config.generator, **shape)
    restore_network(generator, {"generator": mean}, "generator")
    advance(generator, POWER_ITERATIONS)
    random = generator_at(first.config.train.seed, 0, Purpose.STATISTICS)
    measure_batch_statistics(generator, label_frequencies, random)
    return replace(first, parts={**first.parts, "generator": generator.state_dict()})


def _require_alike(first: Checkpoint, other: Checkpoint) -> None:
    skips = other.config.generator.latent_skips
    generator = replace(first.config.generator, latent_skips=skips)
    shapes = {
        name: tensor.shape
        for name, tensor in first.parts["generator"].items()
        if skips or not name.endswith(".latent")
    }
    found = {name: tensor.shape for name, tensor in other.parts["generator"].items()}
    is_alike = (first.class_names, generator, shapes) == (
        other.class_names,
        other.config.generator,
        found,
    )
    if not is_alike:
        raise SaganError(
            "the models' classes or generators differ; give models of one kind, and first one "
            "whose latent reaches every block, if there is any"
        )


def main() -> None:
    """Writes the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    try:
        models = [for_inference(load_checkpoint(model)[0]) for model in asked.models]
        frequencies = load_dataset(models[0].config.data).label_frequencies
        checkpoints.save(mean_of(models, torch.from_numpy(frequencies).float()), asked.output)
    except SaganError as error:
        parser.error(str(error))
    print(asked.output)


if __name__ == "__main__":
    main()
