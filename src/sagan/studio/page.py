"""The page: one HTML file that says where its modules and its style are."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
"""Of the files of the front end."""
BACK_END = "back.js"
"""The name by which the page imports the module that asks a server, or draws by itself."""
COLOURS = "colours.css"
"""Those of all pages, the report's among them."""
_INLINE = re.compile(r"<script\b(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


@cache
def front_files() -> Mapping[str, str]:
    """The files of the front end by name, in order; index.html is the page to be filled in."""
    folder = resources.files("sagan.studio") / "front"
    return MappingProxyType(
        {COLOURS: (resources.files("sagan") / "report" / COLOURS).read_text("utf-8")}
        | {
            file.name: file.read_text("utf-8")
            for file in sorted(folder.iterdir(), key=lambda file: file.name)
            if file.is_file() and any(file.name.endswith(kind) for kind in KINDS)
        }
    )


def page_at(modules: Mapping[str, str], style: str) -> str:
    """Fills the page in.

    Args:
        modules: Name of a module, such as "main.js" -> the URL where it is.
        style: HTML elements of the head that bring the style.
    """
    imports = {f"studio/{name}": url for name, url in modules.items()}
    listed = json.dumps({"imports": imports}, indent=1).replace("<", "\\u003c")
    found = f'<script type="importmap">{listed}</script>'
    page = front_files()["index.html"]
    return page.replace("<!--STYLE-->", style).replace("<!--IMPORTMAP-->", found)


def server_page() -> str:
    """The page as the server gives it, whose files are at /front."""
    names = [name for name in front_files() if name.endswith(".js")]
    modules = {name: f"/front/{name}" for name in names} | {BACK_END: "/front/server.js"}
    styles = [name for name in front_files() if name.endswith(".css")]
    return page_at(
        modules, "\n".join(f'<link rel="stylesheet" href="/front/{name}">' for name in styles)
    )


def policy_of(page: str) -> str:
    """The Content-Security-Policy of a page from the server: its own files, and no one else's."""
    scripts = [_hash_of(script) for script in _INLINE.findall(page)]
    return policy(
        {
            "script-src": " ".join(["'self'", *scripts]),
            "style-src": "'self'",
            "img-src": "'self' data: blob:",
            "media-src": "blob:",
            "connect-src": "'self'",
            "frame-ancestors": "'none'",
        }
    )


def policy(rules: Mapping[str, str]) -> str:
    """A Content-Security-Policy that allows what its rules say and nothing else."""
    closed = dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    return "; ".join(f"{name} {value}" for name, value in {**closed, **rules}.items())


def _hash_of(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
