"""The page that describes the service, made of its OpenAPI schema; it fetches nothing elsewhere."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from sagan.report.rendering import rendered
from sagan.studio.page import policy
from sagan.studio.service_requests import MEDIA_TYPES, ServedModel
from sagan.studio.tokens import TOKEN_VARIABLE

PAGE_POLICY = policy(
    {"style-src": "'unsafe-inline'", "img-src": "'self' data:", "frame-ancestors": "'none'"}
)
"""The Content-Security-Policy of the page: no scripts, and nothing from elsewhere."""
_JSON = MEDIA_TYPES["json"]
_SUFFIXES = {media_type: name for name, media_type in MEDIA_TYPES.items()}


class ListedValue(NamedTuple):
    """A parameter as the page lists it."""

    name: str
    kind: str
    default: str
    meaning: str


class ListedPath(NamedTuple):
    """A path as the page shows it."""

    path: str
    summary: str
    commands: list[tuple[str, str]]
    """Method and command line."""
    values: list[ListedValue]
    answers: list[tuple[str, str]]


def with_examples(schema: dict[str, Any], model: ServedModel, *, has_token: bool) -> dict[str, Any]:
    """Completes a schema: an example of every request, with the model's own classes, and the token.

    Args:
        schema: As FastAPI makes it.
        model: What is served.
        has_token: Whether requests must show one.
    """
    classes = {"class": model.classes[:2]} if model.classes else {}
    one = {"class": model.classes[0]} if model.classes else {}
    point = f"{model.size[1] // 2},{model.size[0] // 2}"
    examples: dict[str, dict[str, Any]] = {
        "/sample": {"seeds": "0-7", **classes, "truncation": 0.8},
        "/attention": {"seed": 3, **one, "at": [point]},
    }
    for path, example in examples.items():
        for parameter in schema["paths"][path]["get"]["parameters"]:
            if parameter["name"] in example:
                parameter["example"] = example[parameter["name"]]
        schema["paths"][path]["post"]["requestBody"]["content"][_JSON]["example"] = example
    if has_token:
        bearer = {"type": "http", "scheme": "bearer"}
        schema["components"]["securitySchemes"] = {"token": bearer}
        schema["security"] = [{"token": []}]
        schema["paths"]["/health"]["get"]["security"] = []
    return schema


def docs_page(schema: Mapping[str, Any], model: ServedModel, base: str) -> str:
    """Describes every route, each with a command to copy.

    Args:
        schema: Of :func:`with_examples`.
        model: What is served.
        base: Address of the service, ending in /.
    """
    example = schema["paths"]["/sample"]["post"]["requestBody"]["content"][_JSON]["example"]
    facts = {
        "about": schema["info"],
        "model": model,
        "paths": list(_listed_paths(schema, base.rstrip("/"))),
        "has_token": "security" in schema,
        "token_variable": TOKEN_VARIABLE,
        "picture": f"sample?{urlencode(example, doseq=True)}",
    }
    return rendered("studio/service.html", facts)


def _listed_paths(schema: Mapping[str, Any], base: str) -> Iterator[ListedPath]:
    for path, methods in schema["paths"].items():
        asked = methods["get"]
        answers = [(code, told["description"]) for code, told in asked["responses"].items()]
        yield ListedPath(
            path=path,
            summary=asked["description"],
            commands=[
                (method.upper(), _curl(schema, base + path, route))
                for method, route in methods.items()
            ],
            values=[
                _listed_value(item["name"], item["schema"], item)
                for item in asked.get("parameters", ())
            ],
            answers=answers,
        )


def _listed_value(name: str, field: Mapping[str, Any], described: Mapping[str, Any]) -> ListedValue:
    default = field.get("default")
    shown = "" if default in (None, [], "") else json.dumps(default).strip('"')
    return ListedValue(name, _allowed(field), shown, described.get("description", ""))


def _allowed(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(field["enum"])
    if "anyOf" in field:
        kinds = dict.fromkeys(_allowed(choice) for choice in field["anyOf"])
        return " or ".join(kind for kind in kinds if kind != "null")
    bounds = [field.get("minimum"), field.get("maximum")]
    span = f" {bounds[0]:g} to {bounds[1]:g}" if None not in bounds else ""
    if field.get("type") == "array":
        return f"list of {_allowed(field['items'])}" if "items" in field else "list"
    return f"{field.get('type', 'any')}{span}"


def _curl(schema: Mapping[str, Any], address: str, route: Mapping[str, Any]) -> str:
    parts = ["curl"]
    if "security" in schema and route.get("security") != []:
        parts.append(f'-H "Authorization: Bearer ${TOKEN_VARIABLE}"')
    if "requestBody" in route:
        example = route["requestBody"]["content"][_JSON]["example"]
        parts += [f"-H 'Content-Type: {_JSON}'", f"-d {shlex.quote(json.dumps(example))}"]
    given = {
        item["name"]: item["example"] for item in route.get("parameters", ()) if "example" in item
    }
    query = f"?{urlencode(given, doseq=True)}" if given else ""
    content = route["responses"]["200"].get("content", {})
    if suffix := _SUFFIXES.get(next(iter(content), ""), ""):
        name = address.rpartition("/")[2]
        parts += [f"-o {name}.{suffix}"] if suffix != "json" else []
    return " ".join([*parts, shlex.quote(address + query)])
