"""Pictures -> features in a file: in a stream, interrupted and continued at will."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch

from sagan.data.dataset import cache_folder
from sagan.errors import SaganError
from sagan.evaluation.features import FeatureExtractor
from sagan.evaluation.picture_sets import PictureSet
from sagan.evaluation.sharing import Sharing
from sagan.images import as_rgb
from sagan.system.progress import progress

EXTRACTION_BATCH_SIZE = 128


class Features(NamedTuple):
    """What an extractor says of pictures, with their labels; both arrays are memory maps."""

    features: np.ndarray
    """float32 (N, feature_dim)."""
    logits: np.ndarray
    """float32 (N, logit_dim)."""
    labels: np.ndarray
    """int64 (N,)."""


def features_path(pictures: PictureSet, extractor: FeatureExtractor) -> Path:
    """The file of a set's features: a row of features and logits per picture, float32."""
    key = f"{pictures.fingerprint}-{len(pictures)}-{extractor.name}-{extractor.weights_sha256[:16]}"
    return cache_folder() / "features" / f"{key}.f32"


def features_of(pictures: PictureSet, extractor: FeatureExtractor, title: str) -> Features:
    """The features of all pictures, extracted as far as they are not in their file.

    ``title`` heads the progress line.

    Raises:
        SaganError: A feature is not finite, or the file cannot be written.
    """
    rows = extract(pictures, extractor, title, Sharing())
    assert rows is not None
    features, logits = np.split(rows, [extractor.feature_dim], axis=1)
    return Features(features, logits, pictures.labels)


def extract(
    pictures: PictureSet, extractor: FeatureExtractor, title: str, sharing: Sharing
) -> np.ndarray | None:
    """Fills the file of a set's features, or what of it is missing; ranks do a batch each in turn.

    A row is written once it is known, always at its own place; a run that is stopped goes on where
    it was, and two at the same time write the same; if one removes the file, the other keeps what
    it opened. Pictures are read batch by batch, so that the memory needed does not grow with their
    number. Only the first rank has the file, and the batches are those of a single process, so that
    the features are the same.

    Returns:
        The rows, float32 (N, feature_dim + logit_dim), mapped; None on all ranks but the first.

    Raises:
        SaganError: A feature is not finite, or the file cannot be written.
    """
    ranks, count = sharing.ranks, len(pictures)
    with ExitStack() as opened:
        file = opened.enter_context(_RowFile(pictures, extractor)) if ranks.is_first else None
        [done, *_] = sharing.exchange(file.rows_there() if file else 0)
        advance = opened.enter_context(progress(title, count - done)) if file else None
        for first in range(done, count, ranks.count * EXTRACTION_BATCH_SIZE):
            start = min(first + ranks.rank * EXTRACTION_BATCH_SIZE, count)
            stop = min(start + EXTRACTION_BATCH_SIZE, count)
            own = _rows(extractor, pictures.read(start, stop), start) if start < stop else None
            rows = [one for one in sharing.exchange(own) if one is not None]
            if file and advance:
                file.write(first, rows)
                advance(sum(map(len, rows)))
        return file.mapped() if file else None


class _RowFile:
    """The file of a set's features, written by one process."""

    def __init__(self, pictures: PictureSet, extractor: FeatureExtractor) -> None:
        self._path = features_path(pictures, extractor)
        self._shape = len(pictures), extractor.feature_dim + extractor.logit_dim
        with self._told():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            self._file = os.fdopen(file, "r+b")

    @property
    def _row_size(self) -> int:
        return 4 * self._shape[1]

    def rows_there(self) -> int:
        """How many rows it has."""
        return min(os.fstat(self._file.fileno()).st_size // self._row_size, self._shape[0])

    def write(self, start: int, rows: Iterable[np.ndarray]) -> None:
        """Puts rows to their places, the first one being that of picture ``start``."""
        with self._told():
            self._file.seek(self._row_size * start)
            self._file.writelines(one.data for one in rows)
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def mapped(self) -> np.ndarray:
        """All rows, of a file that may be gone from its folder."""
        with self._told():
            return np.memmap(self._file, np.float32, mode="r", shape=self._shape)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SaganError(
                f"cannot write features to {self._path.parent}: {error.strerror or error}; "
                "set SAGAN_CACHE to a folder with free space that you may write"
            ) from error


def _rows(extractor: FeatureExtractor, images: np.ndarray, start: int) -> np.ndarray:
    rows = torch.cat(extractor(torch.from_numpy(as_rgb(images))), dim=1).cpu()
    bad = ~rows.isfinite().all(dim=1)
    if bad.any():
        raise SaganError(
            f"{extractor.title} finds features in picture {start + int(bad.nonzero()[0])} that are "
            "not finite; its weights are damaged or this device is; choose another --extractor or "
            "--device"
        )
    return rows.numpy()
