"""Charts of matplotlib as pictures."""

from typing import TYPE_CHECKING

import numpy as np

from sagan.errors import SaganError
from sagan.images.figure import INK
from sagan.system.extras import install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK_NAME = "#" + bytes(INK).hex()
"""The colour of text, as matplotlib and HTML name it."""


def require_matplotlib() -> None:
    """Checks for the extra that draws charts.

    Raises:
        SaganError: It is absent.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise SaganError(f"charts need matplotlib; run: {install('report')}") from error


def blank_chart(size: tuple[float, float], dpi: int) -> "Figure":
    """An empty white figure.

    Args:
        size: Width and height in inches.
        dpi: Pixels of an inch.

    Raises:
        SaganError: matplotlib is absent.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(size, dpi=dpi, facecolor="white", layout="constrained")


def drawn(chart: "Figure") -> np.ndarray:
    """A figure as uint8 (3, H, W)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(chart)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1).copy()
