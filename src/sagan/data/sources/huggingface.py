"""Data sets of Hugging Face: files and folders of its formats, and ``hf:NAME`` from its hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, natural
from sagan.data.sources.bundles import few
from sagan.data.sources.rows import TableFile, catalog_of_tables, checked_features
from sagan.errors import SaganError
from sagan.system.damage import reading
from sagan.system.extras import install

_SPLIT_WORD = re.compile(r"(?:^|[/_.-])(train|validation|valid|val|test|unlabeled)(?=[/_.-])")
_MOST_FOLDERS = 64


def huggingface(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises Parquet and Arrow files, folders of them, and what ``save_to_disk`` writes.

    Which part a file belongs to is told by its name, such as ``data/train-00000-of-00004.parquet``.

    Raises:
        SaganError: The library is missing, or a file is damaged or holds no pictures.
    """
    if path.is_file():
        kind = _kind(path)
        files = [TableFile(str(path), "", kind)] if kind else []
        return _table_catalog("rows of Hugging Face", path, files, config)
    if not path.is_dir():
        return None
    if (path / "dataset_dict.json").is_file():
        splits = _json(path / "dataset_dict.json").get("splits")
        names = [name for name in splits if _is_file_name(name)] if isinstance(splits, list) else []
        files = [file for name in names for file in _saved(path / name, name)]
        folder = path / names[0] if names else path
    elif (path / "state.json").is_file() and (path / "dataset_info.json").is_file():
        files, folder = _saved(path, ""), path
    else:
        return _table_catalog("a folder of rows of Hugging Face", path, _in_folder(path), config)
    if not files:
        raise SaganError(f"{path} lists no files of rows; save the data set anew")
    features = checked_features(_json(folder / "dataset_info.json").get("features"))
    return _table_catalog("a data set saved by Hugging Face", path, files, config, features)


def _table_catalog(
    kind: str, path: Path, files: list[TableFile], config: DataConfig, features: Any = None
) -> Catalog | None:
    if not files:
        return None
    try:
        import pyarrow as _  # noqa: F401
    except ImportError as error:
        raise SaganError(f"{path} is Parquet or Arrow; to read it, {install('hub')}") from error
    return catalog_of_tables(kind, path, files, config, features)


def _kind(path: Path) -> Any:
    """Parquet or Arrow by the file's beginning; "" where it is something else."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"PAR1"):
        return "parquet"
    is_stream = start.startswith(b"\xff\xff\xff\xff") and path.suffix == ".arrow"
    return "arrow" if is_stream or start == b"ARROW1" else ""


def _in_folder(path: Path) -> list[TableFile]:
    """Files of rows, in a folder and in those within it."""
    entries = few(path)
    found = [
        file
        for folder in (path, *[entry for entry in entries if entry.is_dir()][:_MOST_FOLDERS])
        for file in few(folder)
        if file.suffix in (".parquet", ".arrow") and file.stem != "metadata"
        if file.is_file() and _kind(file)
    ]
    splits = {file: _split_in(file.relative_to(path).as_posix()) for file in found}
    is_divided = all(splits.values())
    order = sorted(found, key=lambda file: (splits[file] != "train", natural(str(file))))
    return [TableFile(str(p), splits[p] if is_divided else "", _kind(p)) for p in order]


def _split_in(name: str) -> str:
    words = _SPLIT_WORD.findall(name)
    return words[-1] if words else ""


def _saved(folder: Path, split: str) -> list[TableFile]:
    listed = _json(folder / "state.json").get("_data_files")
    names = [entry.get("filename") for entry in listed] if isinstance(listed, list) else []
    if not all(_is_file_name(name) for name in names):
        raise SaganError(f"{folder / 'state.json'} names files elsewhere; save the data set anew")
    return [TableFile(str(folder / name), split, "arrow") for name in names]


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and not re.search(r"[/\\\0]", name)


def _json(path: Path) -> dict[str, Any]:
    with reading(path, remedy="save the data set anew"):
        if path.stat().st_size > 2**26:
            raise ValueError("it is enormous")
        found = json.loads(path.read_bytes())
    return found if isinstance(found, dict) else {}


def hub_catalog(name: str, config: DataConfig) -> Catalog:
    """Lists the pictures of a data set on Hugging Face's hub.

    It is downloaded into Hugging Face's own cache. One of Parquet files for which the disk has no
    space is read from the hub while it is packed.

    Args:
        name: Of the data set, such as cifar10; one of its configurations may follow after a colon.
        config: Says whether and which classes are wanted.

    Raises:
        SaganError: The library is missing, there is no such data set, or it has no pictures.
    """
    source = f"hf:{name}"
    name, _, chosen = name.partition(":")
    try:
        import datasets
    except ImportError as error:
        raise SaganError(
            f"{source} is read with Hugging Face's datasets: {install('hub')}"
        ) from error
    try:
        builder: Any = datasets.load_dataset_builder(name, chosen or None)
        files = _streamed(builder) if _is_too_large(builder) else _downloaded(builder)
        features: Any = builder.info.features
        noted = features.to_dict() if features else None
    except Exception as error:  # of its many kinds none is more telling than its text
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        raise SaganError(
            f"cannot load {source} ({reason}); look at the name and the connection"
        ) from error
    if not files:
        raise SaganError(f"{source} does not fit on the disk and is no Parquet; free space")
    kind = f"{name} of Hugging Face"
    return catalog_of_tables(kind, Path(source), files, config, checked_features(noted) or None)


def _is_too_large(builder: Any) -> bool:
    import shutil

    place = Path(builder.cache_dir)
    free = shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
    sizes = builder.info.download_size, builder.info.dataset_size
    return not place.exists() and sum(filter(None, sizes)) > free


def _downloaded(builder: Any) -> list[TableFile]:
    builder.download_and_prepare()
    prepared = builder.as_dataset()
    return [
        TableFile(entry["filename"], str(split), "arrow")
        for split in _train_first(prepared)
        for entry in prepared[split].cache_files
    ]


def _streamed(builder: Any) -> list[TableFile]:
    listed = builder.config.data_files or {}
    return [
        TableFile(str(place), str(split), "parquet")
        for split in _train_first(listed)
        for place in listed[split]
        if str(place).endswith(".parquet")
    ]


def _train_first(splits: Iterable[Any]) -> list[Any]:
    return sorted(splits, key=lambda split: str(split) != "train")
