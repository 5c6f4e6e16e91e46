"""Answers that an asker may keep, and need not be sent again while they are the same."""

from fastapi import Request


def headers_with(tag: str) -> dict[str, str]:
    """Of an answer that changes with its tag alone."""
    return {"etag": tag, "cache-control": "private, no-cache"}


def is_held(request: Request, tag: str) -> bool:
    """Whether the asker holds the answer of this tag."""
    held = request.headers.get("if-none-match", "")
    return tag in {item.strip().removeprefix("W/") for item in held.split(",")}
