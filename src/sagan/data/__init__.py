"""Pictures to learn from: the built-in avatars or a folder, as uint8 arrays in memory or mapped."""

import os.path

from sagan.config import DataConfig, nearest
from sagan.data.avatars import load_avatars
from sagan.data.dataset import Dataset, Split, batch_indices
from sagan.data.folder import load_folder
from sagan.errors import SaganError

__all__ = ["BUILT_IN", "Dataset", "Split", "batch_indices", "load_dataset"]

BUILT_IN = ("avatars",)
"""Sources that need no files."""


def load_dataset(config: DataConfig, *, split: Split = "train") -> Dataset:
    """Loads the pictures a config names.

    A folder called like a built-in source is reached as ``./avatars``.

    Args:
        config: Source, resolution, and whether to keep the classes.
        split: "held-out" shares no combination of parts with "train"; only avatars have it.

    Raises:
        SaganError: There is no such source, it cannot be read, or it lacks the split.
    """
    if config.source in BUILT_IN:
        return load_avatars(
            config.resolution,
            config.generated_images,
            split=split,
            conditional=config.conditional,
        )
    if not os.path.exists(os.path.expanduser(config.source)):
        raise SaganError(
            f"there is no folder {config.source}{nearest(config.source, BUILT_IN)}; "
            f"give a folder of pictures or a built-in source: {', '.join(BUILT_IN)}"
        )
    if split == "held-out":
        raise SaganError(f"the folder {config.source} has no held-out split; give a second folder")
    return load_folder(config.source, config.resolution, conditional=config.conditional)
