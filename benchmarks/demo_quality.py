"""Quality of a model of the avatars: distances in EfficientNet-Lite0 features, class accuracy.

    python benchmarks/demo_quality.py runs/demo

Compares 5,000 generated with 5,000 real pictures, the 14 classes alike. The real ones are fresh
draws of the training split, and the floor is the distance between two such draws. Class accuracy
is the share of generated pictures in which a small network, trained here on real pictures,
recognises the class asked for. FD is the Fréchet distance in these features, not FID; KID is in
thousandths of the kernel distance. Neither compares with numbers of other features.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import cycle, islice

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import sagan
from sagan.config import Part
from sagan.data.avatars import CLASS_NAMES, load_avatars
from sagan.evaluation.features import load_extractor
from sagan.evaluation.metrics import frechet_distance, kernel_distance
from sagan.images import to_float
from sagan.sampling.generator import TrainedGenerator

COUNT = 5000
FAMILIES = ("blue robot", "monster", "robot head", "cat", "person")


def balanced(resolution: int, count: int, *, seed: int, split: Part = "train") -> np.ndarray:
    """Real pictures, class after class in turn: the label of picture i is i modulo 14."""
    dataset = load_avatars(resolution, 4 * count, split=split, seed=seed)
    rows = [iter(np.flatnonzero(dataset.labels == label)) for label in range(len(CLASS_NAMES))]
    return dataset.images[[next(rows[i % len(rows)]) for i in range(count)]]


def labels_of(count: int) -> np.ndarray:
    """The labels that belong to :func:`balanced`."""
    return np.fromiter(islice(cycle(range(len(CLASS_NAMES))), count), np.int64)


def train_classifier(resolution: int) -> nn.Module:
    """A small convolutional network that tells the 14 classes apart; prints its accuracy."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers[-1] = nn.AdaptiveAvgPool2d(1)
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, len(CLASS_NAMES)))
    images, labels = balanced(resolution, 7000, seed=11), labels_of(7000)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    rng = np.random.default_rng(0)
    for _ in range(700):
        rows = rng.integers(0, len(images), 64)
        logits = network(to_float(torch.from_numpy(images[rows])))
        loss = F.cross_entropy(logits, torch.from_numpy(labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held_out = balanced(resolution, 1400, seed=5, split="held-out")
    print(f"classifier on held-out real pictures: {accuracy(network.eval(), held_out):.3f}")
    return network


@torch.inference_mode()
def accuracy(classifier: nn.Module, images: np.ndarray) -> float:
    """Share of pictures recognised, in the order of :func:`balanced`."""
    logits = torch.cat(
        [classifier(to_float(torch.from_numpy(part))) for part in np.array_split(images, 10)]
    )
    return float((logits.argmax(1).numpy() == labels_of(len(images))).mean())


def generated(generator: TrainedGenerator) -> np.ndarray:
    """Pictures of seeds 0, 1, ... in the order of :func:`balanced`."""
    return generator.sample(range(COUNT), labels_of(COUNT))


def kernel(first: np.ndarray, second: np.ndarray) -> float:
    """A thousand times the kernel distance between two sets of one size, over all pairs."""
    return 1e3 * kernel_distance(first, second, subsets=1, subset_size=len(first)).mean


def main() -> None:
    """Prints the record as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a run folder or a checkpoint of a model of the avatars")
    model = parser.parse_args().model
    begin = time.perf_counter()
    generator = sagan.load_generator(model)
    extractor = load_extractor()
    images = generated(generator)
    pictures = [balanced(generator.resolution, COUNT, seed=seed) for seed in (77, 78)]
    real, other, fake = (extractor(torch.tensor(some))[0].numpy() for some in (*pictures, images))
    labels = labels_of(COUNT)
    within = {}
    for name in FAMILIES:
        chosen = labels == CLASS_NAMES.index(name)
        within[name] = round(kernel(real[chosen], fake[chosen]))
    record = {
        "features": "EfficientNet-Lite0, pooled, 96 px",
        "pictures": f"{COUNT} generated (seeds from 0), {COUNT} real",
        "FD": round(frechet_distance(real, fake), 1),
        "FD floor": round(frechet_distance(real, other), 1),
        "KID": round(kernel(real, fake)),
        "KID floor": round(kernel(real, other), 1),
        "KID within class": within,
        "class accuracy": round(accuracy(train_classifier(generator.resolution), images), 4),
    }
    print(json.dumps(record, indent=1))
    print(f"took {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
