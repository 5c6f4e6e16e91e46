"""How much the pictures of each class vary, and whether the points of a picture look apart.

    python -m benchmarks.variety runs/half avatars64

A row for each class: a pixel's standard deviation over the pictures of the class, mean over pixels
and channels, drawn over real; and the distance to the most similar picture, drawn over real, which
a run logs as its variety. Then the attention of some pictures: entropy as a share of the greatest,
the largest weight of a query, what it adds to the maps, the median overlap of five points' maps.
The real pictures are those of the model's own settings; ``--data.source`` takes others.
"""

import argparse
from dataclasses import replace

import numpy as np

from sagan.data import load_dataset
from sagan.nn.focus import mean_focus
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import generator_of, rows_of_class, varieties

_PICTURES = 500
"""Of a class, at most, for the spread of a pixel."""
_LOOKED_AT = 25
"""Pictures whose attention is looked at, of the classes in turn, seeds from 0."""


def _main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data.source", dest="source")
    asked = parser.parse_args()
    for model in asked.models:
        checkpoint, _ = load_checkpoint(model)
        data = checkpoint.config.data
        dataset = load_dataset(replace(data, source=asked.source or data.source))
        generator = generator_of(checkpoint)
        print(f"| {model} | spread of a pixel | distance to the nearest |\n|---|---|---|")
        spreads = []
        for name, variety in varieties(generator, dataset).items():
            label = generator.class_names.index(name) if name else 0
            real = dataset.images[rows_of_class(dataset, label, _PICTURES)]
            drawn = generator.sample(range(len(real)), np.full(len(real), label))
            spreads.append(float(drawn.std(axis=0).mean() / real.std(axis=0).mean()))
            print(f"| {name or 'all'} | {spreads[-1]:.2f} | {variety:.2f} |")
        print(f"| least; mean | {min(spreads):.2f}; {np.mean(spreads):.2f} | |")
        labels = np.arange(_LOOKED_AT) % max(1, len(generator.class_names))
        seen = generator.attention(range(_LOOKED_AT), labels)
        for place, overlap in seen.overlaps.items():
            print(f"attention at {place}: {mean_focus(seen.focus[place])}, overlap {overlap:.2f}")


if __name__ == "__main__":
    _main()
