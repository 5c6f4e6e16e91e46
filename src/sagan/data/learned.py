"""The pictures that a model learned from, and no others."""

from pathlib import Path

from sagan.config import HUB, UNKNOWN_SOURCE, DataConfig, Part
from sagan.data.dataset import Dataset
from sagan.data.opening import BUILT_IN, load_dataset
from sagan.errors import SaganError


def load_learned(
    config: DataConfig, mark: str, model: object, remedy: str, *, part: Part = "train"
) -> Dataset:
    """Opens what a model learned from, or what was held out then.

    The settings of a run hold the path as it was typed: from another folder it may name nothing, or
    what is somebody else's; and what it names may have changed. Built-in pictures are composed
    anew, and those of other versions of the libraries are as good.

    Args:
        config: The data settings of the model.
        mark: The fingerprint of its training pictures, or "" where none is known.
        model: What messages call it.
        remedy: What messages advise.
        part: As for :func:`sagan.data.load_dataset`.

    Raises:
        SaganError: They are not there any more, or others are.
    """
    source = config.source
    if source in BUILT_IN:
        return load_dataset(config, part)
    if source == UNKNOWN_SOURCE:
        raise SaganError(f"it is not known what {model} learned from; {remedy}")
    path = Path(source).expanduser()
    if not source.startswith(HUB) and not path.exists():
        where = "there any more" if path.is_absolute() else f"in {Path.cwd()}"
        raise SaganError(f"{model} was trained on {source}, which is not {where}; {remedy}")
    dataset = load_dataset(config)
    if mark and dataset.fingerprint != mark:
        raise SaganError(f"{model} was trained on other pictures than {source} now holds; {remedy}")
    return dataset if part == "train" else load_dataset(config, part)
