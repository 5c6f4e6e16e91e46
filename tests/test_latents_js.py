"""Latents made in a browser: those of PyTorch, so that a seed is the same picture everywhere."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import sagan.studio
from sagan.sampling.latents import draw_latents

NODE = shutil.which("node")
MODULE = Path(sagan.studio.__file__).parent / "front" / "latents.js"
SCRIPT = """
import { readFileSync } from "node:fs";
const { latentOf } = await import("data:text/javascript;base64," + process.argv[1]);
const asked = JSON.parse(readFileSync(0));
const latents = asked.map(([seed, size, changes]) => latentOf(BigInt(seed), size, changes));
console.log(JSON.stringify(latents.map((latent) => Array.from(latent))));
"""
SEEDS = (*range(24), 999_983, 2**31, 2**32 - 1, 2**32 + 5, 2**53 - 1, 2**62 + 3)

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def latents(asked):
    """Asks the module with node: (seed, size, changes) each."""
    assert NODE is not None
    module = base64.b64encode(MODULE.read_bytes()).decode()
    # Seeds as text: JSON has no whole numbers beyond 2**53.
    text = json.dumps([(str(seed), size, changes) for seed, size, changes in asked])
    command = [NODE, "--input-type=module", "--eval", SCRIPT, module]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return [np.array(latent) for latent in json.loads(done.stdout)]


@pytest.mark.parametrize("truncation", [None, 0.3, 2.0, 20.0])
@pytest.mark.parametrize("size", [1, 8, 15, 16, 17, 100, 120, 128])
def test_a_seed_means_the_same_latent(size, truncation):
    ours = draw_latents(SEEDS, size, truncation=truncation).numpy()
    theirs = latents([(seed, size, {"truncation": truncation}) for seed in SEEDS])
    np.testing.assert_allclose(theirs, ours, atol=1e-6, rtol=0)


def test_directions_are_added_by_their_weights():
    directions = np.eye(3, 20)
    changes = {"weights": [2, -1, 0.5], "directions": directions.tolist(), "truncation": 1}
    (moved,) = latents([(7, 20, changes)])
    expected = draw_latents([7], 20, truncation=1)[0].numpy() + [2, -1, 0.5] @ directions
    np.testing.assert_allclose(moved, expected, atol=1e-6, rtol=0)


def test_another_seed_is_another_latent():
    first, second = latents([(1, 128, {}), (2, 128, {})])
    assert np.abs(first - second).max() > 1
