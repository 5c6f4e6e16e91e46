import platform
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sagan
from sagan.errors import SaganError
from sagan.runs.folder import settings_of
from sagan.runs.run import load_checkpoint
from sagan.system import device
from sagan.system.device import autocast, computes_in_bfloat16, pick_device, usual_modes


def test_auto_finds_a_device_and_names_are_taken():
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cpu:"])
def test_absent_devices_are_refused(name):
    with pytest.raises(SaganError, match=name):
        pick_device(name)


@pytest.mark.usefixtures("slow_bfloat16")
def test_precision():
    cpu = torch.device("cpu")
    product = torch.randn(4, 4)
    with autocast("float32", cpu):
        assert (product @ product).dtype == torch.float32
    with autocast("bfloat16", cpu):
        assert (product @ product).dtype == torch.bfloat16


def test_large_blocks_are_not_taken_from_the_system_again():
    """Counted in page faults of a fresh process, whose allocator is still the default one."""
    script = """
import resource, sys, torch
from sagan.system.device import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(10):  # until a block has found its place among the small ones
    faults()
print(sum(faults() for _ in range(10)))
"""

    kept, default = (
        int(subprocess.check_output([sys.executable, "-c", script, how]))
        for how in ("keep", "default")
    )
    if platform.libc_ver()[0] == "glibc":
        assert kept < default / 2


def test_slow_bfloat16_is_refused_where_it_is_known(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(device, "_multiplies_bfloat16_fast", lambda _: False)
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    assert not computes_in_bfloat16("auto", cpu)
    with pytest.raises(SaganError, match=r"has no fast bfloat16 .* auto or float32"):
        computes_in_bfloat16("bfloat16", cpu)
    monkeypatch.setattr(device.platform, "machine", lambda: "arm64")
    assert computes_in_bfloat16("bfloat16", cpu)
    monkeypatch.setattr(device, "_multiplies_bfloat16_fast", lambda _: True)
    assert computes_in_bfloat16("auto", cpu)


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "autocast", "float64"])
def test_what_the_caller_has_set_in_torch_changes_nothing(trained_run, tmp_path, mode):
    modes = {
        "no_grad": torch.no_grad(),
        "inference_mode": torch.inference_mode(),
        "autocast": torch.autocast("cpu", torch.bfloat16),
        "float64": nullcontext(),
    }
    config = settings_of(trained_run)
    config = replace(config, evaluation=replace(config.evaluation, samples=0))
    try:
        torch.set_default_dtype(torch.float64 if mode == "float64" else torch.float32)
        with modes[mode]:
            sagan.train(config, tmp_path / "run", source=Path(config.data.source))
    finally:
        torch.set_default_dtype(torch.float32)
    one, other = (load_checkpoint(folder)[0] for folder in (trained_run, tmp_path / "run"))
    for part, tensors in one.parts.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, other.parts[part][name]), name


@pytest.mark.parametrize("outer", [False, True])
def test_autocast_forgets_weights_between_steps_within_usual_modes(outer):
    layer, x, seen = torch.nn.Linear(4, 4), torch.randn(2, 4), []
    with torch.autocast("cpu", torch.bfloat16, enabled=outer):
        with usual_modes():
            assert not torch.is_autocast_enabled("cpu")
            for _ in range(2):
                with torch.autocast("cpu", torch.bfloat16):
                    seen.append(layer(x))
                with torch.no_grad():
                    layer.weight.mul_(2)
        assert torch.is_autocast_enabled("cpu") == outer
        assert layer(x).dtype == (torch.bfloat16 if outer else torch.float32)
    torch.testing.assert_close(
        2 * (seen[0] - layer.bias), seen[1] - layer.bias, rtol=0.02, atol=0.02
    )
    assert (seen[0] - seen[1]).abs().max() > 0.1
