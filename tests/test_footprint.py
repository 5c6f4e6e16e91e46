from dataclasses import replace
from functools import cache
from itertools import accumulate

import pytest
import torch
from conftest import tiny
from test_training import CPU, EXACT

from sagan.config import LossConfig
from sagan.errors import SaganError
from sagan.nn.spectral import SpectralNorm
from sagan.system.memory import Memory
from sagan.training import footprint as module
from sagan.training.footprint import (
    MARGIN,
    Footprint,
    footprint,
    require_memory,
    upper_bound,
)
from sagan.training.loop import train_steps
from sagan.training.state import new_state

peak_bytes = cache(module.peak_bytes)  # takes two seconds


@pytest.fixture(autouse=True)
def _estimated_once(monkeypatch):
    """And by fewer power iterations, of which each needs what the one before it needed."""
    advance = SpectralNorm.advance
    monkeypatch.setattr(
        SpectralNorm, "advance", lambda norm, weight, *_, **__: advance(norm, weight)
    )
    monkeypatch.setattr(module, "peak_bytes", peak_bytes)


def state_bytes(config):
    state = new_state(config, 2, CPU)
    networks = (state.generator, state.discriminator, state.generator_ema)
    counts = [sum(p.nbytes for p in network.parameters()) for network in networks]
    return counts[0] * 3 + counts[1] * 3 + counts[2]  # weights and two moments each


def measured_peak(config, dataset):
    """The peak of all live tensors in the second step, from the allocator's own events."""

    def steps():
        state = new_state(config, 2, CPU)
        frequencies = torch.tensor([0.5, 0.5])
        yield from train_steps(
            state, dataset, config, label_frequencies=frequencies, device=CPU, autocast=EXACT
        )

    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        for _ in steps():
            pass
    events = profile.profiler.kineto_results.events()
    changes = [
        event.nbytes()
        for event in sorted(events, key=lambda event: event.start_ns())
        if event.name() == "[memory]"
    ]
    return max(accumulate(changes))


def test_estimate_is_close_to_the_allocator(dataset):
    estimate = peak_bytes(tiny(batch_size=8), 2, bfloat16=False)
    measured = measured_peak(tiny(steps=2, batch_size=8), dataset)
    assert estimate == pytest.approx(measured, rel=0.15)


def test_nothing_is_drawn_or_computed():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    peak_bytes.cache_clear()
    peak_bytes(tiny(batch_size=8), 2, bfloat16=False)
    assert torch.equal(before, torch.get_rng_state())


def test_estimate_holds_the_state_and_grows_with_every_picture_alike():
    peaks = {batch: peak_bytes(tiny(batch_size=batch), 2, bfloat16=False) for batch in (8, 16, 32)}
    assert peaks[8] > state_bytes(tiny())
    assert peaks[32] - peaks[16] == pytest.approx(2 * (peaks[16] - peaks[8]), rel=0.02)
    need = footprint(tiny(batch_size=16), 2, bfloat16=False)
    assert need.of(32) == pytest.approx(peaks[32], rel=0.02)


def test_portions_need_less_and_bfloat16_too():
    whole = peak_bytes(tiny(batch_size=16), 2, bfloat16=False)
    assert peak_bytes(tiny(batch_size=16, accumulate=4), 2, bfloat16=False) < whole / 2
    assert peak_bytes(tiny(batch_size=16), 2, bfloat16=True) < whole
    assert peak_bytes(tiny(batch_size=16, compile=True), 2, bfloat16=False) == whole


def test_gpus_keep_the_maps_of_attention_under_penalties():
    plain, penalized = (
        replace(tiny(batch_size=2), loss=LossConfig(gradient_penalty=weight)) for weight in (0, 10)
    )
    found = [
        [footprint(config, 2, bfloat16=False, on_cpu=on_cpu).of(2) for on_cpu in (True, False)]
        for config in (plain, penalized)
    ]
    assert found[0][0] == found[0][1]
    assert found[1][0] < found[1][1]


def test_largest_batch_is_the_last_that_fits():
    need = Footprint(fixed=1000, per_picture=10)
    largest = need.largest_batch(10_000)
    assert need.fits(largest, 10_000)
    assert not need.fits(largest + 1, 10_000)
    assert need.of(largest) * MARGIN <= 10_000
    assert need.largest_batch(1100) == 0
    assert f"--train.batch-size {largest}" in need.remedy(10_000)
    assert "not even 2 pictures" in need.remedy(1100)
    divided = replace(need, portions=8).largest_batch(10_000)
    assert largest - 8 < divided < largest
    assert divided % 8 == 0


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig(gradient_penalty=10)], ids=["", "gp"])
def test_bound_is_above_the_estimate(loss):
    config = replace(tiny(batch_size=8), loss=loss)
    parts = new_state(config, 2, CPU).parts().values()
    size = sum(tensor.nbytes for tensors in parts for tensor in tensors.values())
    assert upper_bound(config, size) > peak_bytes(config, 2, bfloat16=False)


def test_what_can_never_fit_is_refused_and_the_estimate_made_only_in_doubt(monkeypatch):
    config, size = tiny(batch_size=16), 4_000_000
    peak = peak_bytes(config, 2, bfloat16=False)
    require_memory(config, 2, size, Memory(total=2 * peak, available=1), bfloat16=False)
    with pytest.raises(SaganError, match=r"batches of 16 needs about .* choose --train.batch-size"):
        require_memory(config, 2, size, Memory(total=peak - 2**20, available=peak), bfloat16=False)
    monkeypatch.setattr(module, "footprint", None)
    require_memory(config, 2, size, Memory(total=2**40, available=1), bfloat16=False)
    require_memory(config, 2, size, None, bfloat16=False)
