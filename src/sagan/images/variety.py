"""How far apart pictures are, without a feature network."""

import numpy as np
import torch
from torch.nn import functional as F

from sagan.images import as_rgb

_COARSE = 16  # along a side, at most, of what is compared


def nearest_distance(pictures: np.ndarray) -> float:
    """Mean distance from a picture to the nearest other one, in their coarse grey structure.

    Pictures are made grey and averaged over at most 16 x 16 cells. So neither colour nor grain
    counts: three shapes in many colours lie close together, though each of their pixels varies.

    Args:
        pictures: uint8 (N, C, H, W), N >= 2.

    Returns:
        Root mean square difference of the cells, 0 (all alike) to 1.
    """
    grey = torch.from_numpy(as_rgb(np.asarray(pictures))).float().mean(1, keepdim=True) / 255
    height, width = grey.shape[2:]
    cells = F.adaptive_avg_pool2d(grey, (min(height, _COARSE), min(width, _COARSE))).flatten(1)
    distances = torch.cdist(cells, cells, compute_mode="donot_use_mm_for_euclid_dist")
    return (distances.fill_diagonal_(torch.inf).amin(1).mean() / cells.shape[1] ** 0.5).item()
