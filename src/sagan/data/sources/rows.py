"""Parquet and Arrow files as Hugging Face writes them: a picture and a label in each row."""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, stamp_of
from sagan.data.sources.portions import Portion, catalog_of_portions
from sagan.errors import SaganError
from sagan.system.damage import reading
from sagan.system.memory import require_free

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

_PICTURE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "bytes")
_CLASS_COLUMNS = ("label", "labels", "class", "target", "fine_label")
_Features = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class TableFile:
    """A file of rows."""

    place: str
    """Path or, of what is not downloaded, URL."""
    split: str
    kind: Literal["parquet", "arrow"]

    def opened(self) -> parquet.ParquetFile | pyarrow.Table:
        """Opens the file; Arrow is mapped, not read.

        Raises:
            SaganError: It is damaged.
        """
        import pyarrow
        from pyarrow import parquet

        with reading(self.place):
            if self.kind == "arrow":
                source = pyarrow.memory_map(self.place)
                is_file = source.read(6) == b"ARROW1"
                source.seek(0)
                open_rows = pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream
                return open_rows(source).read_all()
            if "://" not in self.place:
                return parquet.ParquetFile(self.place, memory_map=True)
            from fsspec.core import url_to_fs

            system, path = url_to_fs(self.place)
            return parquet.ParquetFile(system.open(path))

    @property
    def stamp(self) -> int:
        """Differs where the file has changed; a URL of Hugging Face names its revision."""
        if "://" in self.place:
            return int.from_bytes(hashlib.sha256(self.place.encode()).digest()[:8], "big")
        return stamp_of(os.stat(self.place))


def catalog_of_tables(
    kind: str,
    root: Path,
    files: Sequence[TableFile],
    config: DataConfig,
    stated: _Features | None = None,
) -> Catalog:
    """Lists the pictures in the rows of files.

    The pictures are the column that is declared to be one, or is called image or the like; the
    classes the column of ``config.label``, the one declared to be so, or one called label.

    Args:
        kind: In words.
        root: The folder or file.
        files: At least one.
        config: Says whether and which classes are wanted.
        stated: Features by column, where they are stated apart from the files.

    Raises:
        SaganError: A file is damaged, or a column is missing.
    """
    first = files[0].opened()
    notes: list[str] = []
    with reading(files[0].place):
        schema = _schema(first)
        features = stated or _features(schema)
        picture = _picture_column(root, schema, features, notes)
        label = _label_column(root, schema, features, config, notes) if config.conditional else None
    class_names = features.get(label or "", {}).get("names")
    portions, ends = [], []
    for file in files:
        with reading(file.place):
            rows = file.opened()
            ends.append(_row_ends(rows))
            labels = _labels_in(rows, label, class_names is not None) if label else (None, None)
            portions.append(Portion(file.split, ends[-1][-1], file.stamp, *labels))
    kept = [number for number, portion in enumerate(portions) if portion.count]
    if not kept:
        raise SaganError(f"{root} has no rows; give pictures")
    return catalog_of_portions(
        kind,
        root,
        [portions[number] for number in kept],
        TableReader([files[n] for n in kept], [ends[n] for n in kept], picture),
        config,
        class_names=class_names,
        notes=notes,
    )


def _schema(rows: Any) -> pyarrow.Schema:
    return rows.schema_arrow if hasattr(rows, "schema_arrow") else rows.schema


def _features(schema: pyarrow.Schema) -> _Features:
    """What Hugging Face notes of each column."""
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return checked_features(noted)


def checked_features(noted: Any) -> _Features:
    """Keeps of a file's features what has the right form."""
    if not isinstance(noted, dict):
        return {}
    found = {name: value for name, value in noted.items() if isinstance(value, dict)}
    for name, value in found.items():
        names = value.get("names")
        is_list = isinstance(names, list) and all(isinstance(text, str) for text in names)
        found[name] = {"_type": value.get("_type"), "names": names if is_list else None}
    return found


def _picture_column(
    root: Path, schema: pyarrow.Schema, features: _Features, notes: list[str]
) -> str:
    possible = [name for name in schema.names if _holds_bytes(schema.field(name).type)]
    declared = [name for name in possible if features.get(name, {}).get("_type") == "Image"]
    named = [name for name in _PICTURE_COLUMNS if name in (declared or possible)]
    columns = named or declared or possible
    if not columns or (len(columns) > 1 and not named and not declared):
        raise SaganError(
            f"{root} has no column of pictures among {', '.join(schema.names)}; call one image"
        )
    if len(declared) > 1:
        notes.append(f"of the pictures {', '.join(declared)} only {columns[0]} are read")
    return columns[0]


def _holds_bytes(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _label_column(
    root: Path,
    schema: pyarrow.Schema,
    features: _Features,
    config: DataConfig,
    notes: list[str],
) -> str | None:
    if config.label:
        if config.label not in schema.names:
            raise SaganError(
                f"{root} has no column {config.label!r} for data.label; it has "
                f"{', '.join(schema.names)}"
            )
        return config.label
    declared = [
        name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"
    ]
    named = [name for name in _CLASS_COLUMNS if name in (declared or schema.names)]
    columns = named or declared
    if len(declared) > 1:
        others = ", ".join(name for name in declared if name != columns[0])
        notes.append(f"classes are those of {columns[0]}; --data.label takes {others}")
    return columns[0] if columns else None


def _row_ends(rows: Any) -> list[int]:
    """Number after the last row of each group that is read at once; one group of a mapped table."""
    if not hasattr(rows, "metadata"):
        return [rows.num_rows]
    groups = [rows.metadata.row_group(n).num_rows for n in range(rows.metadata.num_row_groups)]
    return list(accumulate(groups)) or [0]


def _labels_in(
    rows: Any, column: str, has_names: bool
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels and which of them are missing, as a :class:`Portion` has them.

    -1 is a missing label of classes that have names; so are nothing, and an empty text. No labels
    where all are missing, as in parts without labels, or -1.
    """
    if hasattr(rows, "metadata"):
        require_free(64 * rows.metadata.num_rows, "the labels", "set --data.labels none")
        rows = rows.read(columns=[column], use_threads=False)
    values = rows.column(column)
    values.validate(full=True)
    listed = values.to_pylist()
    if all(value in (None, "", -1) for value in listed):
        return None, None
    no_labels = (None, "", -1) if has_names else (None, "")
    missing = np.array([value in no_labels for value in listed])
    if any(isinstance(value, str) for value in listed):
        labels = np.array(["" if value is None else str(value) for value in listed], np.str_)
    else:
        labels = np.array([-1 if value is None else value for value in listed])
    return labels, missing if missing.any() else None


class TableReader:
    """Reads the bytes of pictures in rows, a group of rows at a time."""

    def __init__(self, files: Sequence[TableFile], ends: Sequence[list[int]], column: str) -> None:
        self._files = tuple(files)
        self._group_ends = tuple(ends)
        self._ends = list(accumulate(group_ends[-1] for group_ends in ends))
        self._column = column
        self._open: dict[tuple[int, int], Any] = {}
        self._group: tuple[tuple[int, int], Any] = ((-1, -1), None)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}, "_group": ((-1, -1), None)}

    def __call__(self, index: int, name: str) -> bytes:
        """Returns the bytes of one picture's file, none where the row has none.

        Raises:
            SaganError: The file is damaged.
        """
        number = bisect_right(self._ends, index)
        row = index - (self._ends[number - 1] if number else 0)
        group = bisect_right(self._group_ends[number], row)
        first = self._group_ends[number][group - 1] if group else 0
        with reading(self._files[number].place):
            if self._group[0] != (number, group):
                self._group = (number, group), self._read(number, group)
            value = self._group[1][row - first].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        return content if isinstance(content, bytes) else b""

    def _read(self, number: int, group: int) -> Any:
        key = os.getpid(), number  # a forked process opens its own
        if key not in self._open:
            self._open = {key: self._files[number].opened()}
        rows = self._open[key]
        if hasattr(rows, "metadata"):
            size = _group_size(rows.metadata.row_group(group), self._column)
            what = f"rows of {self._files[number].place}"
            require_free(2 * size, what, "write them in smaller row groups")
            rows = rows.read_row_group(group, columns=[self._column], use_threads=False)
        found = rows.column(self._column)
        found.validate(full=True)
        return found


def _group_size(group: Any, column: str) -> int:
    """Bytes of a column in a group of rows, by what the file states."""
    columns = [group.column(number) for number in range(group.num_columns)]
    return sum(
        part.total_uncompressed_size
        for part in columns
        if part.path_in_schema.partition(".")[0] == column
    )
