"""Training a model in a run folder: the one call, and what the command takes apart of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sagan.config import Config
from sagan.runs.locked import locked_run
from sagan.system.device import usual_modes
from sagan.system.ranks import ALONE, Ranks, ranks_of_torchrun
from sagan.system.signals import Interruption
from sagan.system.streams import outliving_readers
from sagan.training.choice import settings_of_run
from sagan.training.driver import Driver
from sagan.training.measuring import Outcome
from sagan.training.preparation import device_of_rank

if TYPE_CHECKING:
    from sagan.evaluation.periodic import Evaluate


def train(
    config: Config | str | Path | None,
    folder: str | Path,
    *,
    source: str | Path | None = None,
    minutes: float | None = None,
    start_from: str | Path | None = None,
    other_pictures: bool = False,
) -> Outcome:
    """Trains a model in a run folder; the same call again continues exactly.

    Args:
        config: Settings, the name of a preset or the path of a ``.toml`` file; None for those of
            the run or the model to start from, or that follow from the pictures and the time.
        folder: The run folder: settings, log, samples and checkpoints.
        source: The pictures to learn from instead of those that the settings name, as for
            :func:`sagan.open_dataset`.
        minutes: How long a new run without ``config`` may take; 30 where only pictures are named.
        start_from: A model, as for :func:`sagan.load_generator`, whose weights a new run begins
            with. Unless ``config`` are settings, the networks and the size of the pictures are the
            model's.
        other_pictures: Allow a preset other pictures than those that it is for.

    Raises:
        SaganError: As for :func:`open_run` and :meth:`Driver.train`.
        StoppedError: Ctrl-C, a KeyboardInterrupt, or another signal; the step was finished and
            saved.

    Example:
        >>> outcome = sagan.train(None, "runs/mine", source="path/to/pictures", minutes=30)
        >>> sagan.load_generator("runs/mine").sample(seeds=range(16), labels="cat")
    """
    preset = config if isinstance(config, str) and not other_pictures else None
    named = None if source is None else str(source)
    with (
        usual_modes(),
        ranks_of_torchrun() as ranks,
        outliving_readers(),
        locked_run(folder, ranks),
    ):
        settings = settings_of_run(config, folder, named, minutes, start_from, ranks)
        return open_run(settings, folder, start_from, preset=preset, ranks=ranks).train()


def open_run(
    config: Config,
    folder: str | Path,
    start_from: str | Path | None = None,
    *,
    preset: str | None = None,
    ranks: Ranks = ALONE,
) -> Driver:
    """Opens a run with the evaluations that its settings ask for, by default one at its end.

    Args:
        config: The settings.
        folder: The run folder.
        start_from: The model whose weights a new run begins with.
        preset: Name of the preset that they come from: a new run is refused other pictures than
            those that it is for.
        ranks: The processes that train together; each calls this.

    Raises:
        SaganError: As for :class:`Driver`, the pictures are others, or the evaluation lacks its
            feature network.
    """

    def evaluation() -> Evaluate | None:
        if not config.evaluation.samples:
            return None
        from sagan.evaluation.periodic import PeriodicEvaluation, periodic_evaluation

        prepared = periodic_evaluation if config.evaluation.interval else PeriodicEvaluation
        device = device_of_rank(config.train.device, ranks)
        return prepared(config.evaluation, str(device), ranks, asked)

    asked = Interruption()
    evaluate = ranks.together(evaluation)
    return Driver(config, folder, evaluate, start_from, preset, ranks, asked)
