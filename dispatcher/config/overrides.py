"""Values of the file replaced from the environment: `OSS_DISPATCHER_LIMITS__CONCURRENT_CALLS=4`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from dispatcher.config.document import Node, parse_value
from dispatcher.config.problems import Origin
from dispatcher.config.validation import keys_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.config.problems import Faults, Path

PREFIX = "OSS_DISPATCHER_"
_SEPARATOR = "__"


def apply_overrides(root: Node, env: Mapping[str, str], faults: Faults) -> None:
    """Put the values of the environment into the tree.

    A variable counts if its first word is a key of the file, or if it holds `__`: then a wrong
    word is a fault. Others with the prefix belong to the command line or to the platform
    (Kubernetes sets `OSS_DISPATCHER_PORT` for a Service of that name).
    """
    for name in sorted(env):
        if not name.startswith(PREFIX):
            continue
        words = name.removeprefix(PREFIX).split(_SEPARATOR)
        if len(words) > 1 or _key(words[0], keys_of(())) is not None:
            _override(root, name, words, env[name], faults)


def _override(root: Node, name: str, words: list[str], text: str, faults: Faults) -> None:
    origin = Origin(f"environment variable {name}", 0)
    node = root
    path: Path = ()
    for word in words[:-1]:
        part = _part(node, path, word, origin, faults)
        if part is None:
            return
        below = node.below(part)
        if below is None:
            below = Node(origin, {})
            _put(node, part, below)
        node, path = below, (*path, part)
    part = _part(node, path, words[-1], origin, faults)
    if part is None:
        return
    try:
        _put(node, part, parse_value(text, origin))
    except ValueError as error:
        faults.add(origin, (*path, part), str(error))


def _part(node: Node, path: Path, word: str, origin: Origin, faults: Faults) -> str | int | None:
    if isinstance(node.value, list):
        if word.isascii() and word.isdigit() and int(word) < len(node.value):
            return int(word)
        faults.add(origin, path, f"{word} is no item of this list; write a number from 0 to {len(node.value) - 1}")
        return None
    if not isinstance(node.value, dict):
        faults.add(origin, path, f"the file has a single value here, so nothing can be set below it by {word}")
        return None
    known = (*node.value, *keys_of(path))
    key = _key(word, known)
    if key is None:
        near = get_close_matches(word.lower(), [name.lower() for name in known], n=1)
        advice = f"did you mean {near[0].upper()}?" if near else f"there are {', '.join(keys_of(path))}"
        faults.add(origin, path, f"no key is called {word}; {advice}")
    return key


def _key(word: str, known: tuple[str, ...]) -> str | None:
    return next((key for key in known if key.lower() == word.lower()), None)


def _put(node: Node, part: str | int, value: Node) -> None:
    match node.value, part:
        case dict() as entries, str():
            entries[part] = value
        case list() as items, int():
            items[part] = value
        case _:
            raise TypeError(part)
