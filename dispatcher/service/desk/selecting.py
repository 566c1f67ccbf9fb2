"""The selectors of the contract as query parameters of the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.core.dispatch import DispatchState
from dispatcher.core.selecting import parse_time, pick
from dispatcher.errors import UsageError
from dispatcher.ledger.browse import Selector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from dispatcher.core.location import Names

SELECTORS = ("id", "url", "rule", "state", "task-status", "key", "code", "since", "until", "source")
"""What narrows a selection. `id` and `url` are the arguments of the commands, the others their options."""
_ONCE = ("key", "since", "until", "limit", "after")


def selector_of(query: Mapping[str, Sequence[str]], names: Names, now: datetime) -> Selector:
    """Return the selector that a query means, empty values left out. Raises UsageError or LocationError."""
    given = {name.replace("_", "-"): [each for each in values if each] for name, values in query.items()}
    for name in _ONCE:
        if len(given.get(name, ())) > 1:
            raise UsageError(f"{name} stands several times", hint=f"write {name} once")
    picked = pick([*given.get("id", ()), *given.get("url", ())], names)
    since, until = _one(given, "since"), _one(given, "until")
    return Selector(
        ids=picked.ids,
        objects=picked.objects,
        rules=tuple(given.get("rule", ())),
        states=tuple(_state(each) for each in given.get("state", ())),
        task_statuses=tuple(given.get("task-status", ())),
        key=_one(given, "key"),
        codes=tuple(given.get("code", ())),
        since=None if since is None else parse_time(since, "since", now),
        until=None if until is None else parse_time(until, "until", now),
        sources=tuple(given.get("source", ())),
        limit=limit_of(query),
    )


def selects(query: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether anything narrows the selection; a limit alone does not say which."""
    return any(any(query.get(name, ())) or any(query.get(name.replace("-", "_"), ())) for name in SELECTORS)


def limit_of(query: Mapping[str, Sequence[str]]) -> int | None:
    """Return the limit of a query; None without one. Raises UsageError."""
    text = _one(query, "limit")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 10**9):
        raise UsageError(f"limit={text[:40]}: not a number of rows", hint="write a positive number")
    return int(text)


def _one(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    return next((each for each in query.get(name, ()) if each), None)


def _state(text: str) -> DispatchState:
    try:
        return DispatchState(text)
    except ValueError:
        raise UsageError(f"state={text[:40]}: no state", hint=f"there are {', '.join(DispatchState)}") from None
