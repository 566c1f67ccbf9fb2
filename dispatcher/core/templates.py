"""Texts with placeholders: `oss://{bucket}/{key}`. Pure.

Only whole placeholders of the list below are known; nothing of Python's format language. What is
put in is put in once: braces in a key stay braces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from dispatcher.core.location import object_url

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class TemplateError(ValueError):
    """A text whose placeholders cannot be read; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class ObjectFields:
    """What placeholders refer to, for one dispatch."""

    bucket: str
    key: str
    etag: str
    size: int
    rule: str
    dispatch_id: str

    @property
    def last(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    def value(self, name: str) -> str:
        """Return the text of one placeholder. Raises TemplateError for an unknown one."""
        placeholder = PLACEHOLDERS.get(name)
        if placeholder is None:
            raise TemplateError(unknown_placeholder(name))
        return placeholder.of(self)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """What a placeholder stands for: in words, and as a function of the object."""

    meaning: str
    of: Callable[[ObjectFields], str]


PLACEHOLDERS = {
    "bucket": Placeholder("the bucket's name", lambda fields: fields.bucket),
    "key": Placeholder("the object's key as it is", lambda fields: fields.key),
    "key_quoted": Placeholder(
        "the key percent-encoded, slashes kept", lambda fields: quote(fields.key, safe="/", errors="surrogateescape")
    ),
    "dir": Placeholder(
        "the key up to and with its last slash; empty at the top",
        lambda fields: fields.key[: len(fields.key) - len(fields.last)],
    ),
    "stem": Placeholder(
        "the last part of the key without its extension",
        lambda fields: fields.last.rpartition(".")[0] if "." in fields.last else fields.last,
    ),
    "extension": Placeholder(
        "the extension as written, without the dot; empty if there is none",
        lambda fields: fields.last.rpartition(".")[2] if "." in fields.last else "",
    ),
    "size": Placeholder("bytes", lambda fields: str(fields.size)),
    "etag": Placeholder("the etag without quotes, lower-case", lambda fields: fields.etag),
    "url": Placeholder("oss://bucket/key", lambda fields: object_url(fields.bucket, fields.key)),
    "rule": Placeholder("the rule's id", lambda fields: fields.rule),
    "dispatch_id": Placeholder("the dispatch id, without the attempt", lambda fields: fields.dispatch_id),
}
"""Every placeholder of a template."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text: literal pieces and the placeholders between them."""

    literals: tuple[str, ...]
    placeholders: tuple[str, ...]

    def render(self, fields: ObjectFields) -> str:
        """Return the text with every placeholder replaced, once."""
        pieces = [self.literals[0]]
        for name, literal in zip(self.placeholders, self.literals[1:], strict=True):
            pieces += (fields.value(name), literal)
        return "".join(pieces)

    def bound(self, bucket: str, rule: str) -> Template | str:
        """Return what is known without an object, when only the rule and its bucket are.

        Text if nothing is left to fill in. `{url}` is `oss://BUCKET/{key}`.
        """
        known = {"bucket": bucket, "rule": rule}
        literals, placeholders = [self.literals[0]], list[str]()
        for name, literal in zip(self.placeholders, self.literals[1:], strict=True):
            if name in known:
                literals[-1] += known[name] + literal
                continue
            if name == "url":
                literals[-1] += object_url(bucket, "")
            placeholders.append("key" if name == "url" else name)
            literals.append(literal)
        return Template(tuple(literals), tuple(placeholders)) if placeholders else literals[0]


@lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """Parse a text with placeholders; `{{` and `}}` stand for braces. Raises TemplateError."""
    literals = [""]
    placeholders: list[str] = []
    at = 0
    for token in _TOKEN.finditer(text):
        literals[-1] += text[at : token.start()]
        at = token.end()
        name = token[1]
        if token[0] in ("{{", "}}"):
            literals[-1] += token[0][0]
        elif name is None:
            raise TemplateError(f"a single {token[0]} is no placeholder; write {token[0] * 2} for a brace")
        elif name not in PLACEHOLDERS:
            raise TemplateError(unknown_placeholder(name))
        else:
            placeholders.append(name)
            literals.append("")
    literals[-1] += text[at:]
    return Template(tuple(literals), tuple(placeholders))


def render_value(value: object, fields: ObjectFields) -> object:
    """Return a JSON value with every text in it rendered, at any depth. Names of fields are no templates."""
    return _each_text(value, lambda text: parse_template(text).render(fields))


def bind_value(value: object, bucket: str, rule: str) -> object:
    """Return a JSON value whose texts are bound (`Template.bound`): plain text, or what waits for an object."""
    return _each_text(value, lambda text: parse_template(text).bound(bucket, rule))


def _each_text(value: object, change: Callable[[str], object]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _each_text(inner, change) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(inner, change) for inner in value]
    return value


def unknown_placeholder(name: str) -> str:
    """Return what to tell of a placeholder that does not exist."""
    near = get_close_matches(name, PLACEHOLDERS, n=1)
    known = " ".join(f"{{{placeholder}}}" for placeholder in PLACEHOLDERS)
    advice = f"did you mean {{{near[0]}}}?" if near else f"there are {known}."
    return f"unknown placeholder {{{name}}}; {advice} Write {{{{ and }}}} for braces"
