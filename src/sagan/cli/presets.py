"""The command presets."""

import ast
import inspect
import json
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

from sagan.cli.program import app
from sagan.config import Config, DiscriminatorConfig, GeneratorConfig, unread
from sagan.config.effort import operations
from sagan.config.presets import PRESETS
from sagan.config.presets import preset as named_preset


@app.command
def presets(name: str | None = None, /) -> None:
    """List the presets with source, published numbers and cost, or explain every setting of one.

    Parameters
    ----------
    name
        The preset to explain.
    """
    if name is None:
        print("\n\n".join("\n".join(_description(name)) for name in PRESETS))
        return
    config = named_preset(name)
    per_picture = operations(config)
    lines = [
        *_description(name),
        *(line for text in PRESETS[name].differs for line in _entry("differs", text)),
        *_entry(
            "operations",
            f"{per_picture / 1e9:.3g} billion for each real picture (a x b + c as two), "
            f"{per_picture * _real_pictures(config):.2g} in all",
        ),
        "",
        *_wrapped(
            "Defaults are the authors' values, but for the averaged weights, which they do not"
            " have, optimizer.eps_form and train.discriminator_power_iteration. A star marks what"
            " differs."
        ),
        *_settings(config),
    ]
    print("\n".join(lines))


def field_docstrings(section: type) -> dict[str, str]:
    """The docstrings of a dataclass's fields, each on one line, by the name of the field.

    They stand below the fields as strings, which Python does not keep; so the source is read.
    """
    found = {}
    for base in section.__mro__[:-1]:  # the last is object
        (definition,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in pairwise(definition.body):
            match statement, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
    return found


def _description(name: str) -> Iterator[str]:
    preset = PRESETS[name]
    config = named_preset(name)
    yield from _wrapped(f"{name}: {preset.title}")
    yield from _entry("source", preset.source)
    for numbers in preset.published:
        yield from _entry("published", numbers)
    if preset.data:
        yield from _entry("pictures", f"{preset.data}: give them with --data.source")
    yield from _entry(
        "cost", f"{config.train.steps:,} steps over {_real_pictures(config):,} real pictures"
    )


def _real_pictures(config: Config) -> int:
    return config.train.steps * config.train.pictures_per_step


def _settings(config: Config) -> Iterator[str]:
    for section in fields(config):
        values = getattr(config, section.name)
        yield ""
        yield f"[{section.name}]  {inspect.getdoc(values)}"
        docstrings = field_docstrings(type(values))
        networks = (GeneratorConfig, DiscriminatorConfig)
        hidden = unread(values) if isinstance(values, networks) else ()
        for item in fields(values):
            if item.name in hidden:
                continue
            value = getattr(values, item.name)
            differs = value != item.default
            # JSON writes every kind of value that a setting has as TOML does.
            default = f"  (default {json.dumps(item.default)})" if differs else ""
            yield f"{'*' if differs else ' '} {item.name} = {json.dumps(value)}{default}"
            yield from _wrapped(docstrings[item.name], 6, 6)


def _entry(heading: str, text: str) -> list[str]:
    return _wrapped(f"{heading:<12}{text}", 2, 14)


def _wrapped(text: str, first: int = 0, later: int = 0) -> list[str]:
    """Lines that fit the terminal; the numbers are spaces before the first and the later ones."""
    return textwrap.wrap(
        text,
        min(shutil.get_terminal_size().columns, 100),
        initial_indent=" " * first,
        subsequent_indent=" " * later,
        break_on_hyphens=False,
        break_long_words=False,
    )
