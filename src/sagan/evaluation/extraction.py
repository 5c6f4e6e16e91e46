"""Pictures -> features in a file: in a stream, interrupted and continued at will."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sagan.data.dataset import cache_folder
from sagan.errors import SaganError
from sagan.evaluation.features import FeatureExtractor
from sagan.evaluation.picture_sets import PictureSet
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
    """Extracts the features of all pictures into their file, or what of them is missing there.

    A row is written once it is known, always at its own place; a run that is stopped goes on where
    it was, and two at the same time write the same; if one removes the file, the other keeps what
    it opened. Pictures are read batch by batch, so that the
    memory needed does not grow with their number. ``title`` heads the progress line.

    Raises:
        SaganError: A feature is not finite, or the file cannot be written.
    """
    path = features_path(pictures, extractor)
    width = extractor.feature_dim + extractor.logit_dim
    count = len(pictures)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            done = min(os.fstat(file.fileno()).st_size // (4 * width), count)
            file.seek(4 * width * done)
            with progress(title, count - done) as advance:
                for start in range(done, count, EXTRACTION_BATCH_SIZE):
                    stop = min(start + EXTRACTION_BATCH_SIZE, count)
                    file.write(_rows(extractor, pictures.read(start, stop), start).data)
                    advance(stop - start)
            file.flush()
            rows = np.memmap(file, dtype=np.float32, mode="r", shape=(count, width))
    except OSError as error:
        raise SaganError(
            f"cannot write features to {path.parent}: {error.strerror or error}; "
            "set SAGAN_CACHE to a folder with free space that you may write"
        ) from error
    features, logits = np.split(rows, [extractor.feature_dim], axis=1)
    return Features(features, logits, pictures.labels)


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
