"""The configuration file as a tree of values that know where they were written.

YAML 1.2 (core schema: `no` is a word, dates are text), read from ruamel.yaml's node graph.
Environment variables enter here and nowhere else: `${VAR}` inside parsed scalar values, and
`OSS_DISPATCHER_LIMITS__CONCURRENT_CALLS=4` in place of a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from dispatcher.config.problems import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.config.problems import Faults, Path

_MAX_DEPTH = 50
_MAX_NODES = 2_000_000
_UNTAGGED = Tag(suffix="tag:yaml.org,2002:none")
_STR_TAG = "tag:yaml.org,2002:str"

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_VARIABLE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{")

Scalar = str | int | float | bool | None


class Substituted(str):
    """Text that came from the environment: where a number is wanted, its digits are one."""

    __slots__ = ()


@dataclass(slots=True)
class Node:
    """A value of the file: a scalar, or entries or items that are nodes themselves.

    `raw` is the scalar as written, for a message that says how to quote it. `broken`: its fault
    is told already, and what follows from it need not be.
    """

    origin: Origin
    value: Scalar | dict[str, Node] | list[Node]
    raw: str = ""
    broken: bool = False

    def plain(self) -> object:
        """Return the value without its places."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, path: Path) -> Node:
        """Return the node at a path, or the nearest one above it that exists."""
        node = self
        for part in path:
            below = node.below(part)
            if below is None:
                return node
            node = below
        return node

    def below(self, part: str | int) -> Node | None:
        """Return an entry or item, None if there is none."""
        if isinstance(self.value, dict) and isinstance(part, str):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None


def read_document(text: str, name: str, env: Mapping[str, str], faults: Faults, *, first: str = "rules") -> Node:
    """Return the tree of a YAML text; an unreadable one is a fault and an empty mapping.

    `first` is the key that the operator is told to begin with.
    """
    nothing = Node(Origin(f"{name}:1", 1), {})
    try:
        root = _yaml().compose(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        faults.add(
            Origin(f"{name}:{line}", line), (), f"this is no YAML: {_yaml_advice(error.problem or 'unreadable')}"
        )
        return nothing
    except (YAMLError, RecursionError, ValueError) as error:
        faults.add(nothing.origin, (), f"this is no YAML: {str(error).splitlines()[0] if str(error) else 'too deep'}")
        return nothing
    if root is None:
        return nothing
    tree = _Reader(name, env, faults).node(root, ())
    if not isinstance(tree.value, dict):
        faults.add(tree.origin, (), f"the file must hold keys and values; begin with `{first}:`")
        return nothing
    return tree


def parse_value(text: str, origin: Origin) -> Node:
    """Return the tree of one environment value: a YAML scalar, or a list or mapping in brackets.

    Scalars stay text (`Substituted`). Raises ValueError for text that is no YAML.
    """
    if not text.lstrip().startswith(("[", "{")):
        return Node(origin, Substituted(text), text)
    try:
        root = _yaml().compose(text)
    except YAMLError:
        raise ValueError("the brackets do not close; write for example [a/, b/]") from None
    return _relocated(_Reader("", {}, None).node(root, ()), origin)


def _relocated(node: Node, origin: Origin) -> Node:
    if isinstance(node.value, dict):
        return Node(origin, {name: _relocated(inner, origin) for name, inner in node.value.items()})
    if isinstance(node.value, list):
        return Node(origin, [_relocated(inner, origin) for inner in node.value])
    return Node(origin, node.value, node.raw)


class _Untagged(VersionedResolver):
    """Leaves the meaning of plain scalars to us, and marks explicit tags by their difference."""

    def resolve(self, kind: object, value: object, implicit: object) -> Tag:  # noqa: ARG002 - ruamel.yaml's signature
        return _UNTAGGED


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Untagged
    yaml.max_depth = _MAX_DEPTH
    return yaml


def _yaml_advice(problem: str) -> str:
    if "\\t" in problem or "tab" in problem:
        return f"{problem}; indent with spaces, not with a tab"
    return f"{problem}; check the indentation, and quote a value that holds ': ' or ' #'"


class _Reader:
    """Turns ruamel's nodes into ours, once."""

    def __init__(self, name: str, env: Mapping[str, str], faults: Faults | None) -> None:
        self._name = name
        self._env = env
        self._faults = faults
        self._left = _MAX_NODES
        self._faulty = 0
        self._open: set[int] = set()

    def node(self, raw: object, path: Path, line: int | None = None) -> Node:
        if not isinstance(raw, ScalarNode | SequenceNode | MappingNode):
            raise TypeError(type(raw))
        line = raw.start_mark.line + 1 if line is None else line
        origin = Origin(f"{self._name}:{line}", line)
        self._left -= 1
        if self._left < 0 or id(raw) in self._open:
            self._fault(origin, path, "an alias (*name) repeats itself or too much; write the value out")
            return Node(origin, None)
        if str(raw.tag) not in (str(_UNTAGGED), _STR_TAG):
            self._fault(origin, path, f"the tag {raw.tag} is not taken; write the plain value")
        if isinstance(raw, ScalarNode):
            return self._scalar(raw, origin, path)
        self._open.add(id(raw))
        value = self._items(raw, path) if isinstance(raw, SequenceNode) else self._entries(raw, path)
        self._open.discard(id(raw))
        return Node(origin, value)

    def _items(self, raw: SequenceNode, path: Path) -> list[Node]:
        return [self.node(item, (*path, place)) for place, item in enumerate(raw.value)]

    def _entries(self, raw: MappingNode, path: Path) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in raw.value:
            line = key.start_mark.line + 1
            origin = Origin(f"{self._name}:{line}", line)
            if not isinstance(key, ScalarNode):
                self._fault(origin, path, "a key must be one word; quote a value that begins with { or [")
                continue
            name = str(key.value)
            if name in entries:
                first = entries[name].origin.line
                self._fault(origin, (*path, name), f"this key was written before, in line {first}; keep one of them")
                continue
            entries[name] = self.node(value, (*path, name), line)
        return entries

    def _scalar(self, raw: ScalarNode, origin: Origin, path: Path) -> Node:
        text = str(raw.value)
        if "${" in text:
            before = self._faulty
            value = self._substituted(text, origin, path)
            return Node(origin, value, text, broken=self._faulty > before)
        if raw.style is None and str(raw.tag) == str(_UNTAGGED):
            return Node(origin, resolve_scalar(text), text)
        return Node(origin, text, text)

    def _substituted(self, text: str, origin: Origin, path: Path) -> Substituted:
        def value(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "${"
            name = match["name"]
            if name is None:
                self._fault(
                    origin, path, "a ${ that names no variable; write ${NAME}, ${NAME:-default}, or $${ for a plain ${"
                )
                return ""
            if name in self._env:
                return self._env[name]
            if match["default"] is not None:
                return match["default"]
            self._fault(
                origin, path, f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            )
            return ""

        return Substituted(_VARIABLE.sub(value, text))

    def _fault(self, origin: Origin, path: Path, message: str) -> None:
        self._faulty += 1
        if self._faults is not None:
            self._faults.add(origin, path, message)


def resolve_scalar(text: str) -> Scalar:
    """Return what a plain scalar means in YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text):
        return float(
            text.replace(".inf", "inf")
            .replace(".nan", "nan")
            .replace(".Inf", "inf")
            .replace(".NaN", "nan")
            .replace(".INF", "inf")
            .replace(".NAN", "nan")
        )
    return text
