"""The command convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sagan.cli.program import app
from sagan.errors import SaganError


@app.command
def convert(
    *files: Path,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    to: Literal["biggan", "studiogan", "mmgen"] | None = None,
    colours: Literal["rgb", "bgr"] | None = None,
    relu_in_place: bool | None = None,
    absolute_gains: bool | None = None,
    batch_norm_eps: float | None = None,
    class_names: Path | None = None,
) -> None:
    """Turn checkpoints of other SAGAN implementations into one of this program.

    Recognised by their keys: BigGAN-PyTorch, PyTorch-StudioGAN, mmgeneration and mmagic, mimicry,
    heykeetae/Self-Attention-GAN, and the authors' TensorFlow variables as .npz. What the keys do
    not show is printed, and set by a flag where that repository's default is wrong.

    Parameters
    ----------
    files
        A generator, a discriminator or both: files as those repositories write them, or
        .safetensors with their key names.
    output
        The file to write; with --to the folder for that repository's files.
    to
        The other way: turn one model of this program, a run folder or a checkpoint, into files of
        BigGAN-PyTorch, PyTorch-StudioGAN (from v0.4.0) or mmgeneration, where that is exact.
    colours
        Order of the pictures' colours; bgr for mmgeneration (rgb if its file was converted from
        PyTorch-StudioGAN), otherwise rgb.
    relu_in_place
        The discriminator's shortcuts see the output of the ReLU; so in PyTorch-StudioGAN, mimicry
        and mmgeneration's configs with wReLUinplace in their name.
    absolute_gains
        Gains of class tables are used as they stand, not added to 1; so in mimicry, the authors'
        code, and mmgeneration with its init types SAGAN and SNGAN.
    batch_norm_eps
        Added to the variance; 1e-4 for PyTorch-StudioGAN and mmgeneration with normalised class
        tables, otherwise 1e-5.
    class_names
        A text file with the name of a class per line; by default classes are called 0, 1, 2...
    """
    from sagan.system.files import require_output

    require_output(output, "" if to else ".safetensors", inputs=files)
    if to is not None:
        _convert_to(to, files, output)
        return

    from sagan.interop.conversion import convert_files
    from sagan.interop.reading import Choices
    from sagan.runs.checkpoint import save

    if not files:
        raise SaganError(
            "nothing to convert; give the files of a generator, a discriminator or both"
        )
    choices = Choices(
        bgr=None if colours is None else colours == "bgr",
        shortcut_input=None if relu_in_place is None else ("relu" if relu_in_place else "raw"),
        gain_offset=None if absolute_gains is None else float(not absolute_gains),
        batch_norm_eps=batch_norm_eps,
    )
    names = _lines(class_names) if class_names else ()
    checkpoint, networks = convert_files(files, choices, names)
    save(checkpoint, output)
    for network in networks:
        print(network.summary)
    print(output)


def _convert_to(target: str, files: tuple[Path, ...], folder: Path) -> None:
    from sagan.interop.writing import write
    from sagan.runs.run import load_checkpoint

    if len(files) != 1:
        raise SaganError("--to takes one model: a run folder or a checkpoint of this program")
    checkpoint, _ = load_checkpoint(files[0])
    paths, reasons = write(checkpoint, target, folder)
    for line in (*reasons, *paths):
        print(line)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SaganError(f"{path} is no text in UTF-8; save it as such") from error
