"""Networks as programs of ``torch.export``."""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sagan.export.parity import Compute
from sagan.export.portable import PortableNetwork, recorded


def write_program(portable: PortableNetwork, path: Path, description: Mapping[str, str]) -> None:
    """Writes a network as a .pt2 file.

    Args:
        portable: Left as it is.
        path: The file.
        description: Written into the file; ``torch.export.load`` gives each entry by its name.

    Raises:
        OSError: It cannot be written.
    """
    content = io.BytesIO()  # on a full disk PyTorch's own writer ends the process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of views of one weight, which are stored as such
        torch.export.save(recorded(portable), content, extra_files=dict(description))
    path.write_bytes(content.getbuffer())


def opened_program(path: Path) -> Compute:
    """The network of a .pt2 file."""
    with path.open("rb") as file:
        draw = torch.export.load(file).module()

    def drawn(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return draw(**inputs)

    return drawn
