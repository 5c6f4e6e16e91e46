"""Exported files: their size, how long they take to make, and how fast they draw.

python -m benchmarks.exporting [MODEL]

Seconds are of the processor, on one thread, so that other work on the machine hardly matters.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from sagan import export_model, load_generator
from sagan.export.onnx import opened_graph
from sagan.export.program import opened_program
from sagan.sampling.generator import TrainedGenerator
from sagan.sampling.latents import draw_latents

REPEATS = 7


def main(model: str = "avatars64") -> None:
    """Prints two tables."""
    torch.set_num_threads(1)
    print("| file | MB | seconds |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".onnx", ".pt2", ".safetensors"):
            for half in (False, True):
                begin = time.process_time()
                file = export_model(model, Path(folder, f"{half}{suffix}"), half=half).file
                taken, size = time.process_time() - begin, file.stat().st_size / 1e6
                print(f"| {suffix}{' --half' * half} | {size:.1f} | {taken:.1f} |")
        generator = load_generator(model)
        graph, program = (
            opened(Path(folder, f"False{suffix}"))
            for suffix, opened in ((".onnx", opened_graph), (".pt2", opened_program))
        )
        print("\n| pictures per second | batch 1 | batch 64 |\n|---|---|---|")
        for name, draw in (
            ("onnxruntime, with maps", graph),
            ("torch.export, with maps", program),
            ("this library's generator", lambda inputs: generator(*inputs.values())),
        ):
            speeds = [_pictures_per_second(draw, generator, batch) for batch in (1, 64)]
            print(f"| {name} | {speeds[0]:.0f} | {speeds[1]:.0f} |")


@torch.inference_mode()
def _pictures_per_second(
    draw: Callable[[dict[str, torch.Tensor]], object], generator: TrainedGenerator, batch: int
) -> float:
    inputs = {"latents": draw_latents(range(batch), generator.latent_dim)}
    if classes := len(generator.class_names):
        inputs["labels"] = torch.arange(batch) % classes
    seconds = []
    for _ in range(REPEATS):
        begin = time.process_time()
        for _ in range(max(1, 32 // batch)):
            draw(inputs)
        seconds.append((time.process_time() - begin) / max(1, 32 // batch))
    return batch / median(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
