"""Going back to the last good checkpoint after a divergence, with lower learning rates."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from sagan.config.training import OnDivergence
from sagan.errors import DivergedError, SaganError
from sagan.runs.events import ROLLED_BACK, event
from sagan.runs.run import Run
from sagan.training.agreement import require_same_state
from sagan.training.outputs import Outputs
from sagan.training.preparation import Preparation
from sagan.training.state import ROLLBACK_FACTOR, TrainingState
from sagan.training.watch import Progress


@contextmanager
def going_back(preparation: Preparation, outputs: Outputs, progress: Progress) -> Iterator[None]:
    """After a divergence within the block, which ends it, the run is back where it was good.

    Raises:
        DivergedError: As for :func:`roll_back`.
    """
    try:
        yield
    except DivergedError as error:
        roll_back(preparation, outputs, error)
        progress.go_back(outputs.state.step)


def roll_back(preparation: Preparation, outputs: Outputs, error: DivergedError) -> None:
    """Takes up the last good checkpoint, with ``ROLLBACK_FACTOR`` of the learning rates so far.

    The checkpoint is written again with the number of rollbacks, so that whoever continues the run
    continues with the same rates. The log is as after any resume, plus a record of what happened.
    All ranks go back together, once the first has written what it was about to.

    Args:
        preparation: Of the run.
        outputs: Of the run; its state goes back.
        error: What happened: the step, and what was not finite.

    Raises:
        DivergedError: The settings ask for a stop, there were ``train.most_rollbacks`` already, or
            there is no checkpoint to go back to; says what happened and the ways on.
        FaultError: The ranks did not read the same.
    """
    state, run, train = outputs.state, preparation.run, preparation.config.train
    count, reached = state.rollbacks + 1, state.step
    ranks = preparation.ranks
    ranks.together(outputs.writer.join)
    if train.on_divergence == "stop" or count > train.most_rollbacks:
        raise DivergedError(_ending(error, run, state, train.on_divergence)) from error
    try:
        checkpoint = ranks.together(preparation.checkpoint)
    except SaganError as fault:
        raise DivergedError(f"{error}; the run cannot go back: {fault}") from error
    if checkpoint is None:
        raise DivergedError(
            f"{error}; there is no checkpoint to go back to; lower the learning rates in "
            f"{run.another}"
        ) from error
    state.restore(checkpoint.parts, checkpoint.step)
    state.rollbacks = count
    require_same_state(state, preparation)
    rewind = partial(_rewind_folder, outputs, reached, error)
    ranks.together(rewind if ranks.is_first else lambda: None)


def _rewind_folder(outputs: Outputs, reached: int, error: DivergedError) -> None:
    """Brings the folder back to the step of the state, and tells what happened."""
    state, run, train = outputs.state, outputs.run, outputs.config.train
    run.set_aside_after(state.step)
    run.rewind_log(state.step)
    facts = {"from": reached, "to": state.step, "factor": state.rate_factor, "reason": str(error)}
    outputs.log(event(ROLLED_BACK, state.step, **facts))
    outputs.save_checkpoint()
    outputs.writer.wait()
    sys.stderr.write(
        f"{error}; rolled back to step {state.step} with {state.rate_factor:g} of the learning "
        f"rates ({state.rollbacks} of at most {train.most_rollbacks} rollbacks)\n"
    )


def _ending(
    error: DivergedError, run: Run, state: TrainingState, on_divergence: OnDivergence
) -> str:
    """What happened, and the ways on."""
    told = f"{error}; the run stopped; {run.last_good}"
    lower, count = f"lower the learning rates in {run.another}", state.rollbacks
    if on_divergence == "rollback":
        return (
            f"{told}; it was rolled back {count} time{'s' * (count > 1)}, at last with "
            f"{state.rate_factor:g} of the learning rates; to get past it, allow more "
            f"--train.most-rollbacks, or {lower}"
        )
    return (
        f"{told}; to get past it, give the same command with --train.on-divergence rollback, which "
        f"goes back and multiplies the learning rates by {ROLLBACK_FACTOR:g}, or {lower}"
    )
