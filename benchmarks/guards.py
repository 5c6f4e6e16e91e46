"""Section guards: a check of a run beside a step of it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import islice

from benchmarks.harness import Side, Suite, median_ratio
from benchmarks.options import Options
from sagan.config.presets import preset
from sagan.training.driver import Driver

FEW_PICTURES = 3000
CYCLE = 4
"""Steps from one penalty to the next: a call takes as many."""


def guards(suite: Suite, options: Options) -> None:
    """The demo: four steps, and what ``train.watch_interval`` does from time to time.

    The share is that of a check in the steps from one to the next.
    """
    config = preset("avatars32")
    config = replace(
        config,
        data=replace(config.data, generated_images=FEW_PICTURES),
        train=replace(config.train, device=options.device.type),
    )
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(config, folder)
        steps = driver.preparation.steps(driver.state)
        step = Side(name=f"{CYCLE} steps", call=lambda: list(islice(steps, CYCLE)))
        check = Side(name="a check", call=driver.guards.signals)
        rows = suite.compare("guards", "the demo", [step, check])
    [of_step], [of_check] = ([row for row in rows if row.side == s.name] for s in (step, check))
    ratio = median_ratio(of_check.seconds, of_step.seconds)
    of_check.share_of_step = ratio * CYCLE / config.train.watch_interval
