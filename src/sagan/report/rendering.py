"""Templates of pages and texts, filled in."""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sagan.errors import printable

_MARKS = re.compile(r"([\\`*_{}\[\]<>#!|~&])")


def rendered(template: str, facts: Mapping[str, Any]) -> str:
    """Fills a template in; in HTML, what the facts say stays text.

    Args:
        template: Room and name, such as "report/card.md".
        facts: What it shows, by name.
    """
    environment = Environment(
        loader=PackageLoader("sagan", "."),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = _unmarked
    return environment.get_template(template).render(facts)


def _unmarked(text: object) -> str:
    """Text in which Markdown finds no marks."""
    return _MARKS.sub(r"\\\1", printable(str(text)))
