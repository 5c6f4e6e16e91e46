"""Models by name: the file that a user means, and the models that come with the package.

A model that comes along is two files of the folder ``shipped``: NAME.safetensors, a checkpoint in
half precision, and NAME.toml, its card.
"""

import hashlib
import os
import textwrap
import tomllib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sagan.config import HUB, DataConfig, nearest
from sagan.errors import SaganError
from sagan.runs.folder import CHECKPOINTS, checkpoint_called, is_run, settings_of

SHIPPED = Path(__file__).parent.parent / "shipped"
_CARD_WIDTH = 100  # of a card in print


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """A model that comes with the package, as its card describes it."""

    name: str
    """What it is called wherever a model is asked for."""
    title: str
    """What it draws, in a line."""
    pictures: str
    """What it learned from."""
    credits: tuple[str, ...]
    """Who made those pictures, and under which licence."""
    licence: str
    """Of the model itself."""
    size: tuple[int, int]
    """Height and width of its pictures."""
    channels: int
    """Of its pictures."""
    class_names: tuple[str, ...]
    """Its classes."""
    recipe: str
    """How it was trained, in words; the file holds the settings."""
    steps: int
    """Updates of the generator."""
    pictures_seen: int
    """Real pictures that the discriminator was shown, repetitions included."""
    seed: int
    """Of the training."""
    trained_on: str
    """Device and versions."""
    protocol: str
    """How the records were measured."""
    records: dict[str, float]
    """What was measured, by the names of ``sagan evaluate``."""
    rounding: str
    """What half precision changed."""
    limits: tuple[str, ...]
    """What it does badly."""
    not_for: tuple[str, ...]
    """What it must not be taken for."""
    sha256: str
    """Of the file, 64 hex digits."""

    def __str__(self) -> str:
        height, width = self.size
        colours = {1: ", grey", 4: ", with transparency"}.get(self.channels, "")
        entries: dict[str, str | tuple[str, ...]] = {
            "draws": f"{self.title}; {height} x {width} pixels{colours}",
            "classes": ", ".join(self.class_names) or "none",
            "learned from": self.pictures,
            "credits": self.credits,
            "licence": self.licence,
            "recipe": self.recipe,
            "seen": f"{self.pictures_seen:,} pictures in {self.steps:,} steps, seed {self.seed}",
            "trained on": self.trained_on,
            "records": ", ".join(f"{name} {value:.4g}" for name, value in self.records.items()),
            "measured": self.protocol,
            "file": f"{self.megabytes:.1f} MB in half precision; {self.rounding}",
            "limits": self.limits,
            "not for": self.not_for,
        }
        lines = [self.name]
        for heading, found in entries.items():
            for text in (found,) if isinstance(found, str) else found:
                lines += _wrapped_entry(heading, text)
                heading = ""
        return "\n".join(lines)

    @property
    def megabytes(self) -> float:
        """Size of the file, in 10^6 bytes; 0 where it is absent."""
        path = self._path
        return path.stat().st_size / 1e6 if path.exists() else 0.0

    @property
    def _path(self) -> Path:
        return SHIPPED / f"{self.name}.safetensors"

    @property
    def file(self) -> Path:
        """The checkpoint.

        Raises:
            SaganError: It is absent or is not what the card describes.
        """
        try:
            with self._path.open("rb") as opened:
                is_whole = hashlib.file_digest(opened, "sha256").hexdigest() == self.sha256
            reason = "" if is_whole else "its bytes are not those that were installed"
        except OSError as error:
            reason = str(error.strerror or error)
        if reason:
            raise _broken(self.name, reason)
        return self._path


def shipped_names() -> list[str]:
    """What the models that come with the package are called."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def shipped_models() -> tuple[ShippedModel, ...]:
    """The models that come with the package, by name.

    Raises:
        SaganError: A card is damaged.
    """
    return tuple(_card(name) for name in shipped_names())


def shipped_model(name: str) -> ShippedModel:
    """One of them.

    Raises:
        SaganError: There is none of this name, or its card is damaged.
    """
    known = shipped_names()
    if name not in known:
        raise SaganError(
            f"no model {name!r} comes with the package{nearest(name, known)}; "
            f"there are {', '.join(known)}"
        )
    return _card(name)


def model_file(model: str | Path) -> Path:
    """The file or run folder that a model's name means.

    Args:
        model: A path, which wins where it exists; RUN@best, RUN@newest or RUN@12000 for one
            checkpoint of a run folder; the name of a model that comes with the package, such as
            "avatars64"; or "hf:owner/name" for one of the Hugging Face hub.

    Returns:
        A path. One that does not exist comes back where ``model`` can be nothing but a path.

    Raises:
        SaganError: It is a name that nobody knows, or the model cannot be had.
    """
    name, known = Path(model).as_posix(), shipped_names()
    if os.path.exists(model):
        if name in known:
            warnings.warn(
                f"{name} is taken for ./{name} here; for the model of that name that comes with "
                "the package, work in another folder",
                stacklevel=1,
            )
        return Path(model)
    if name in known:
        return _card(name).file
    if is_name(model):
        from sagan.runs.hub import downloaded

        return downloaded(name)
    folder, at, which = str(model).rpartition("@")
    if at and is_run(folder):
        return checkpoint_called(Path(folder), which)
    if Path(name).suffix or len(Path(name).parts) != 1:
        return Path(model)
    raise SaganError(
        f"there is no file or folder {name}{nearest(name, known)}; give its path, or a model that "
        f"comes with the package: {', '.join(known)}"
    )


def run_of(model: str | Path) -> Path | None:
    """The run folder that a model is, or is a checkpoint of; None for all others."""
    if is_name(model):
        return None
    path = model_file(model)
    home = path.resolve().parent
    run = path if path.is_dir() else home.parent if home.name == CHECKPOINTS else None
    return run if run and is_run(run) else None


def as_placed_now(data: DataConfig, run: Path | None) -> DataConfig:
    """The data settings of a checkpoint, with the place of the pictures that its run names now."""
    try:
        return replace(data, source=settings_of(run).data.source) if run else data
    except SaganError:
        return data


def is_name(model: str | Path) -> bool:
    """Whether something is the name of a model, of the package or of the hub, and no path."""
    name = Path(model).as_posix()
    return not os.path.exists(model) and (name in shipped_names() or name.startswith(HUB))


def shipped_of(model: str | Path) -> ShippedModel | None:
    """The model that comes with the package, where that is what a name means.

    Raises:
        SaganError: Its card is damaged.
    """
    name = Path(model).as_posix()
    return _card(name) if is_name(model) and name in shipped_names() else None


def _wrapped_entry(heading: str, text: str) -> list[str]:
    return textwrap.wrap(
        f"{heading:<14}{text}",
        _CARD_WIDTH,
        initial_indent="  ",
        subsequent_indent=" " * 16,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _card(name: str) -> ShippedModel:
    try:
        values: dict[str, Any] = tomllib.loads((SHIPPED / f"{name}.toml").read_text("utf-8"))
        for key, value in values.items():
            values[key] = tuple(value) if isinstance(value, list) else value
        return ShippedModel(name=name, **values)
    except (OSError, ValueError, TypeError) as error:
        raise _broken(name, str(error)) from error


def _broken(name: str, reason: str) -> SaganError:
    return SaganError(
        f"the model {name} of this installation is damaged ({reason}); "
        "install sagan anew: pip install --force-reinstall --no-deps . in a clone of it"
    )
