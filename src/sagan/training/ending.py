"""How a run ends before its last step: what its log and its last words say."""

from collections.abc import Iterator
from contextlib import contextmanager

from sagan.errors import DivergedError, FaultError, StoppedError
from sagan.runs.events import DIVERGED, STOPPED, event
from sagan.system.memory import is_out_of_memory
from sagan.system.signals import Interruption
from sagan.training.footprint import out_of_memory
from sagan.training.outputs import Outputs
from sagan.training.preparation import Preparation


def stopped(preparation: Preparation, outputs: Outputs, asked: Interruption) -> StoppedError:
    """What all ranks end with where a signal came to one of them, once everything is written.

    Args:
        preparation: Of the run.
        outputs: Of the run; the state is saved, or about to be.
        asked: Whether the signal came to this rank.

    Raises:
        SaganError: The disk refuses.
    """
    ranks, step = preparation.ranks, outputs.state.step
    by = next(filter(None, ranks.from_all(asked.by)), "a signal")

    def log() -> None:
        outputs.writer.wait()
        outputs.log(event(STOPPED, step, by=by))

    ranks.together(log)
    return StoppedError(f"stopped at step {step} by {by} and saved; the same command continues")


@contextmanager
def ends_told(preparation: Preparation, outputs: Outputs) -> Iterator[None]:
    """Logs a divergence that ends what is within, and says what to do where memory runs out.

    Raises:
        FaultError: It has run out.
    """
    try:
        yield
    except DivergedError as error:
        outputs.log(event(DIVERGED, outputs.state.step, detail=str(error)))
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reached, another = outputs.state.step, outputs.run.another
        raise FaultError(
            out_of_memory(preparation, reached, another, outputs.last_good())
        ) from error
