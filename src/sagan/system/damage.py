"""What reading a damaged file raises, and what is said of it."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from sagan.errors import SaganError

DAMAGES = (
    *(OSError, EOFError, ValueError, LookupError, ArithmeticError, TypeError, RuntimeError),
    *(MemoryError, struct.error, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
)


@contextmanager
def reading(
    place: object, *others: type[Exception], remedy: str = "fetch it anew"
) -> Iterator[None]:
    """Says which file is damaged, where reading it fails.

    Args:
        place: The file.
        others: What its library raises beside :data:`DAMAGES`.
        remedy: For the message.

    Raises:
        SaganError: As an error within; one of these stays as it is.
    """
    try:
        yield
    except SaganError:
        raise
    except (*DAMAGES, *others) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        is_refusal = isinstance(error, OSError) and error.errno
        found = reason if is_refusal else f"damaged or cut off: {reason}"
        raise SaganError(f"cannot read {place} ({found}); {remedy}") from error
