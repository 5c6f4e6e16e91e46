"""The command that publishes a model: push."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.parsing import FLAGS, OUTPUT, SWITCH
from sagan.cli.program import app
from sagan.errors import SaganError
from sagan.system.files import require_output
from sagan.system.memory import readable


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the files go."""

    private: Annotated[bool, SWITCH] = False
    """Let nobody else see it."""
    revision: str | None = None
    """A branch other than the main one; made if it is not there."""
    dry_run: Annotated[bool, SWITCH] = False
    """Upload nothing; print the files that would be uploaded, with their sizes."""
    output: Annotated[Path | None, OUTPUT] = None
    """Upload nothing; write the files into this folder, to be looked at."""

    @property
    def uploads(self) -> bool:
        """Whether anything is uploaded."""
        return not self.dry_run and self.output is None


@app.command
def push(
    model: Path,
    repository: str,
    /,
    *,
    licence: Annotated[str, Parameter(name="--license")],
    discriminator: Annotated[bool, SWITCH] = False,
    target: Annotated[Target, FLAGS] = Target(),
) -> None:
    """Upload a model to Hugging Face's hub, with its settings, a sheet of pictures and a card.

    Others then load it by its name: sagan sample hf:owner/name. Log in first, with hf auth login
    or the variable HF_TOKEN.

    Parameters
    ----------
    model
        A run folder, a .safetensors file, or the name of a model (sagan models).
    repository
        owner/name on the hub; made if it is not there.
    licence
        Under which others may use the model, as the hub names licences: mit, apache-2.0,
        cc-by-4.0, other.
    discriminator
        Upload the discriminator too; without it nobody can train the model further.
    """
    from sagan.report.card import require_licence, write_model_folder
    from sagan.runs import hub

    hub.require_repository(repository)
    require_licence(licence)
    if target.revision is not None:
        hub.require_revision(target.revision)
    if target.dry_run and target.output is not None:
        raise SaganError("--dry-run writes nothing and --output a folder; leave one out")
    if target.uploads:
        hub.require_login()
    elif target.output is not None:
        require_output(target.output, "")
    with TemporaryDirectory(prefix="sagan-") as drafts:
        folder = target.output or Path(drafts)
        choices = {"licence": licence, "discriminator": discriminator}
        paths = write_model_folder(model, folder, repository, **choices)
        if target.uploads:
            where = {"private": target.private, "revision": target.revision}
            print(hub.upload(folder, repository, f"Upload of {repository} with sagan", **where))
        elif target.dry_run:
            print(*(f"{p.name:<20}{readable(p.stat().st_size)}" for p in paths), sep="\n")
        else:
            print(*paths, sep="\n")
