"""Pictures to learn from: built-in or from files; uint8 arrays in memory or mapped."""

import os.path

from sagan.config import DataConfig, Part, nearest
from sagan.data.avatars import load_avatars
from sagan.data.dataset import Dataset, batch_indices
from sagan.data.folder import load_folder, stored_resolution
from sagan.errors import SaganError

__all__ = ["BUILT_IN", "Dataset", "Part", "batch_indices", "load_dataset", "open_source"]

BUILT_IN = ("avatars",)
"""Sources that need no files."""


def load_dataset(config: DataConfig) -> Dataset:
    """Loads the pictures to train on.

    Raises:
        SaganError: As for :func:`open_source`.
    """
    return open_source(
        config.source,
        config.resolution,
        conditional=config.conditional,
        generated_images=config.generated_images,
    )


def open_source(
    source: str,
    resolution: int | None,
    *,
    conditional: bool = True,
    generated_images: int = DataConfig.generated_images,
    split: Part = "train",
) -> Dataset:
    """Loads pictures from a folder, IDX files, a packed file or a built-in source.

    A folder called like a built-in source is reached as ``./avatars``.

    Args:
        source: Path or name.
        resolution: Side of the pictures in pixels; None takes those of a folder or a file as they
            are, if all are squares of one size.
        conditional: Keep the classes.
        generated_images: Pictures of a built-in source.
        split: "held-out" shares no combination of parts with "train" where the source is avatars,
            and is the t10k files where it is a folder of IDX files; no other source has it.

    Raises:
        SaganError: There is no such source, it cannot be read, or it lacks the split.
    """
    if source in BUILT_IN:
        if resolution is None:
            raise SaganError(f"{source} can be had at every resolution; give a --resolution")
        return load_avatars(resolution, generated_images, split=split, conditional=conditional)
    if not os.path.exists(os.path.expanduser(source)):
        raise SaganError(
            f"there is no folder {source}{nearest(source, BUILT_IN)}; give a folder "
            f"of pictures, a .npz of arrays, or a built-in source: {', '.join(BUILT_IN)}"
        )
    if split == "held-out":
        raise SaganError(f"{source} has no held-out split; give a second folder or file")
    return load_folder(source, resolution or stored_resolution(source), conditional=conditional)
