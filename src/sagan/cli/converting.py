"""Commands that carry a model elsewhere: convert, export."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from sagan.cli.parsing import FLAGS, MODEL, OUTPUT, SWITCH
from sagan.cli.program import app
from sagan.errors import SaganError
from sagan.system.files import require_output

if TYPE_CHECKING:
    from sagan.interop.reading import Choices

PAGE = ".html"
"""How the name of an exported page ends."""


@dataclass(frozen=True, kw_only=True)
class Unnamed:
    """What the keys of a foreign file do not show."""

    colours: Literal["rgb", "bgr"] | None = None
    """Order of the pictures' colours; by default bgr for mmgeneration, rgb for the others."""
    relu_in_place: bool | None = None
    """Whether the discriminator's shortcuts see the output of the ReLU; by default so for
    PyTorch-StudioGAN and mimicry."""
    absolute_gains: bool | None = None
    """Whether gains of class tables are used as they are, not added to 1; by default so for mimicry
    and the authors' code."""
    batch_norm_eps: float | None = None
    """Added to the variance; by default 1e-4 for PyTorch-StudioGAN and most of mmgeneration, 1e-5
    for the others."""
    generator_attention: str | None = None
    """Height of the map where attention stands, such as 64, for mimicry and the authors' code; by
    default 32, of pictures of 32 pixels 16."""
    discriminator_attention: str | None = None
    """The same in the discriminator; by default the map after its second block. 8-2 is the second
    map of 8 x 8."""
    final_resolution: int | None = None
    """Height of mmgeneration's last map in the discriminator; by default 8 for pictures of 32
    pixels, 2 of 64, 4 of 128."""
    class_names: Path | None = None
    """A text file with the name of a class per line; by default classes are called 0, 1, 2..."""


@app.command
def convert(
    *files: Path,
    output: Annotated[Path, OUTPUT],
    to: Literal["biggan", "studiogan", "mmgen", "tensorflow"] | None = None,
    unnamed: Annotated[Unnamed, FLAGS] = Unnamed(),
) -> None:
    """Turn checkpoints of other SAGAN implementations into one of this program.

    It recognises BigGAN-PyTorch, PyTorch-StudioGAN, mmgeneration and mmagic, mimicry,
    heykeetae/Self-Attention-GAN, and the authors' TensorFlow code. What a file does not show is
    taken from its repository's defaults and printed; a flag says it otherwise
    (docs/checkpoints.md).

    Parameters
    ----------
    files
        A generator, a discriminator or both: files as those repositories write them, or
        .safetensors with their key names; a TensorFlow checkpoint by its prefix or its folder, or
        its variables as an .npz.
    output
        The file to write; with --to the folder for that repository's files.
    to
        The other way, where that is exact: turn a run folder or a checkpoint of this program into
        files of that repository (tensorflow: an .npz of the authors' variables).
    """
    require_output(output, "" if to else ".safetensors", inputs=files)
    if to is not None:
        _require_nothing_unnamed(unnamed)
        _convert_to(to, files, output)
        return
    _require_foreign(files, output)
    from sagan.interop.conversion import convert_files
    from sagan.runs.checkpoint import save

    names = _lines(unnamed.class_names) if unnamed.class_names else ()
    checkpoint, networks = convert_files(files, _choices(unnamed), names)
    save(checkpoint, output)
    for network in networks:
        print(network.summary)
    print(output)


def _choices(unnamed: Unnamed) -> "Choices":
    from sagan.interop.reading import Choices

    relu, absolute = unnamed.relu_in_place, unnamed.absolute_gains
    return Choices(
        bgr=None if unnamed.colours is None else unnamed.colours == "bgr",
        shortcut_input=None if relu is None else ("relu" if relu else "raw"),
        gain_offset=None if absolute is None else float(not absolute),
        batch_norm_eps=unnamed.batch_norm_eps,
        generator_attention=unnamed.generator_attention,
        discriminator_attention=unnamed.discriminator_attention,
        final_resolution=unnamed.final_resolution,
    )


def _require_nothing_unnamed(unnamed: Unnamed) -> None:
    """Refuses flags about foreign files where there are none."""
    for item in fields(unnamed):
        if getattr(unnamed, item.name) is not None:
            flag = f"--{item.name.replace('_', '-')}"
            raise SaganError(f"{flag} is about files of others, which --to writes; leave it out")


def _convert_to(target: str, files: tuple[Path, ...], folder: Path) -> None:
    from sagan.interop.writing import write
    from sagan.runs.run import load_checkpoint

    if len(files) != 1:
        raise SaganError("--to takes one model: a run folder or a checkpoint of this program")
    checkpoint, _ = load_checkpoint(files[0])
    paths, reasons = write(checkpoint, target, folder)
    for line in (*reasons, *paths):
        print(line)


def _require_foreign(files: tuple[Path, ...], output: Path) -> None:
    """Refuses nothing, and what is a model of this program already."""
    from sagan.runs.folder import is_run
    from sagan.runs.named import is_name

    if not files:
        raise SaganError(
            "nothing to convert; give the files of a generator, a discriminator or both"
        )
    for file in files:
        if is_name(file) or is_run(file):
            raise SaganError(
                f"{file} is a model of this program already; sagan export {file} -o {output} "
                "writes it as a file, and --to turns it into another repository's"
            )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SaganError(f"{path} is not UTF-8 text; save it as UTF-8") from error


@app.command
def export(
    model: Annotated[Path, MODEL],
    /,
    *,
    network: Literal["generator", "discriminator"] | None = None,
    shares: Annotated[bool, SWITCH] = False,
    half: Annotated[bool, SWITCH] = False,
    output: Annotated[Path, OUTPUT],
) -> None:
    """Write the averaged generator for use elsewhere, or a live page, and compare with PyTorch.

    Before the file has its name, what is in it draws 64 pictures, and the greatest difference from
    PyTorch's pictures and attention maps is printed.

    Parameters
    ----------
    network
        What goes into an .onnx or .pt2 file; the generator by default. A .safetensors file has
        both.
    shares
        The generator takes the share of every class, in place of the number of one, so that
        classes can be mixed.
    half
        Keep the weights in 16 bits, in half the bytes; the pictures change by less than the eye
        sees.
    output
        model.onnx for onnxruntime and others, model.pt2 for torch.export.load, model.safetensors
        for this program, or page.html: the studio's page of both networks in one file, which needs
        no server and no internet connection.
    """
    from sagan.export import FORMATS

    require_output(output, *FORMATS, PAGE, inputs=[model])
    if output.suffix.lower() == PAGE:
        given = {"--network": network, "--shares": shares, "--half": half}
        if flags := [flag for flag, value in given.items() if value]:
            raise SaganError(f"a page has both networks as it needs them; leave {flags[0]} out")
        from sagan.studio.single_file import write_page

        write_page(model, output, print)
        return
    from sagan.export.writing import export_model

    print(export_model(model, output, network=network, shares=shares, half=half))
