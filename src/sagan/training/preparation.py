"""What a run needs before its first step, opened and checked; nothing is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sagan.config import Config, DataConfig, TrainConfig
from sagan.config.presets import PRESETS
from sagan.data import BUILT_IN, Dataset, batch_indices, load_dataset
from sagan.data.catalog import Catalog, in_split
from sagan.data.opening import catalog_of
from sagan.errors import SaganError
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.folder import checkpoint_files
from sagan.runs.run import Run, load_checkpoint
from sagan.system.device import (
    autocast,
    computes_in_bfloat16,
    keep_freed_memory,
    pick_device,
    require_compiler,
)
from sagan.system.memory import Memory, memory_of
from sagan.system.ranks import ALONE, Ranks
from sagan.training.loop import train_steps
from sagan.training.origin import StartingModel, origin_of
from sagan.training.state import TrainingState
from sagan.training.trackers import require_trackers


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a run needs from its surroundings, opened and checked."""

    config: Config
    """With the channels of the pictures, where they were left as found."""
    run: Run
    dataset: Dataset
    device: torch.device
    bfloat16: bool
    """Whether forward passes compute in bfloat16."""
    memory: Memory | None
    """None where the device does not say."""
    ranks: Ranks = ALONE
    """The processes that train together."""
    origin: StartingModel | None = None
    """The model whose weights the run begins with; None if it draws its own, or goes on."""

    @property
    def num_classes(self) -> int:
        """0 when unconditional."""
        return len(self.dataset.class_names)

    @property
    def label_frequencies(self) -> Tensor:
        """Of generated pictures, as ``train.fake_labels`` says: float64 (num_classes,)."""
        frequencies = torch.from_numpy(self.dataset.label_frequencies)
        if self.config.train.fake_labels == "uniform":
            return torch.full_like(frequencies, 1 / len(frequencies))
        if self.config.data.order == "balanced":
            shown = (frequencies > 0).to(frequencies)
            return shown / shown.sum()
        return frequencies

    def checkpoint(self) -> Checkpoint | None:
        """The newest good checkpoint of the run, to go on from; None for a new run.

        Raises:
            SaganError: It was trained with other settings or on other pictures, or all are lost.
        """
        if not checkpoint_files(self.run.folder):
            self.run.require_no_lost_checkpoints()
            return None
        checkpoint, path = load_checkpoint(self.run.folder)
        self.run.require_same(checkpoint.config)
        if self.dataset.fingerprint != checkpoint.dataset_fingerprint:
            raise SaganError(
                f"{path} was trained on other pictures than {self.config.data.source} now holds; "
                f"restore them or choose {self.run.another}"
            )
        return checkpoint

    def steps(self, state: TrainingState) -> Iterator[dict[str, Tensor]]:
        """The steps from a state on, each with its loss terms."""
        return train_steps(
            state,
            self.dataset,
            self.config,
            label_frequencies=self.label_frequencies,
            device=self.device,
            autocast=autocast(self.config.train.precision, self.device),
            ranks=self.ranks,
        )


def prepare(
    config: Config,
    folder: str | Path,
    start_from: str | Path | None = None,
    preset: str | None = None,
    ranks: Ranks = ALONE,
) -> Preparation:
    """Opens what a run needs; changes nothing in its folder.

    Pictures of a folder are packed into the cache, and from now on the process keeps freed memory.

    Args:
        config: The settings.
        folder: The run folder.
        start_from: The model to begin from, as for :func:`origin_of`.
        preset: Whose settings they are, as for :func:`require_intended`, which a new run needs.
        ranks: The processes that train together.

    Raises:
        SaganError: The data, the folder, the model or the device do not allow the run.
    """
    require_equal_shares(config.train, ranks)
    device = device_of_rank(config.train.device, ranks)
    keep_freed_memory()
    require_trackers(config.train.log)
    if config.train.compile:
        require_compiler(device)
    bfloat16 = computes_in_bfloat16(config.train.precision, device)
    run = Run(folder, config)
    origin = origin_of(run, start_from)
    config = run.config
    catalog = require_intended(preset, config.data) if preset and not run.is_begun else None
    dataset = load_dataset(config.data, catalog=catalog)
    config = config.with_channels(dataset.images.shape[1])
    _require_classes_to_name(config, dataset)
    if not checkpoint_files(run.folder):  # one of other pictures is told instead
        batch_indices(len(dataset), config.train.batch_size, 0, config.train.seed)
    return Preparation(
        config=config,
        run=Run(folder, config),
        dataset=dataset,
        device=device,
        bfloat16=bfloat16,
        memory=memory_of(device),
        ranks=ranks,
        origin=origin,
    )


def _require_classes_to_name(config: Config, dataset: Dataset) -> None:
    if config.discriminator.conditioning == "auxiliary" and not dataset.class_names:
        raise SaganError(
            "AC-GAN (discriminator.conditioning auxiliary) learns to name classes, and there are "
            f"none in {config.data.source} with data.labels {config.data.labels}; give pictures "
            "with classes, or choose projection"
        )


def require_equal_shares(config: TrainConfig, ranks: Ranks) -> None:
    """Makes sure that a batch can be divided among the ranks, and a share into its portions.

    Raises:
        SaganError: It cannot; names the numbers.
    """
    batch, portions, count = config.batch_size, config.accumulate, ranks.count
    if batch % (count * portions) or batch < 2 * count * portions:
        parts = f"{count} processes" + (f", each in {portions} portions," if portions > 1 else "")
        raise SaganError(
            f"train.batch_size {batch} cannot be shared by {parts} with two pictures or more in "
            f"each part; make it a multiple of {count * portions}, at least {2 * count * portions}"
        )


def device_of_rank(name: str, ranks: Ranks) -> torch.device:
    """The device of a process: with several, each of a machine has a GPU of its own.

    Raises:
        SaganError: As for :func:`pick_device`, or there are fewer GPUs than processes.
    """
    if not ranks.are_many:
        return pick_device(name)
    has_gpus = name in ("auto", "cuda") and torch.cuda.is_available()
    device = torch.device("cuda") if has_gpus else pick_device(name)
    if device.type == "cpu":
        return device
    if not has_gpus:
        raise SaganError(
            f"several processes cannot share {device}; give --train.device cuda, of which each has "
            "one, or cpu"
        )
    if ranks.local_rank >= torch.cuda.device_count():
        raise SaganError(
            f"process {ranks.local_rank + 1} of this machine has no GPU, of which there are "
            f"{torch.cuda.device_count()}; start fewer (torchrun --nproc-per-node), or give "
            "--train.device cpu"
        )
    torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", ranks.local_rank)


def require_intended(preset: str, config: DataConfig) -> Catalog | None:
    """Refuses a preset other pictures than those that it is for, before they are packed.

    Args:
        preset: Its name; what is none is for all pictures.
        config: The pictures.

    Returns:
        What their source holds, where it was looked at.

    Raises:
        SaganError: They are others, by their number and that of their classes.
    """
    intended = PRESETS[preset].data if preset in PRESETS else None
    if intended is None:
        return None
    whole = None
    found, are_these = f"{config.source} is built in", False
    if config.source not in BUILT_IN:
        whole = catalog_of(config)
        catalog = in_split(whole, config.split)
        count, classes = len(catalog), len(catalog.class_names)
        are_these = intended.are(count, classes)
        within = f" in {classes:,} class{'es' * (classes > 1)}" if classes else ""
        found = f"{config.source} has {count:,}{within}"
    if not are_these:
        raise SaganError(
            f"{preset} is for {intended}, and {found}; add --other-pictures to train on them all "
            "the same, or give the pictures that it is for"
        )
    return whole
