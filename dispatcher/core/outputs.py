"""What a finished task or job wrote, as far as its results tell: for the loop guard. Pure.

The shape of ActivityResults differs by activity and is not documented in full. What every output
has is a URL, so every string in the JSON that names an object counts, at any depth.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dispatcher.core.location import parse_object
from dispatcher.errors import LocationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dispatcher.core.location import Names
    from dispatcher.core.rules import Rule, RuleSet

_SCHEMES = ("oss://", "http://", "https://")
_DEPTH = 20


def written_objects(activity_results: str, names: Names) -> Iterator[tuple[str, str]]:
    """Yield (bucket, key) of every object named in the results; nothing for text that is no JSON."""
    try:
        results = json.loads(activity_results)
    except (ValueError, RecursionError):  # text of the service: any depth
        return
    for text in _strings(results, _DEPTH):
        yield from _named(text, names)


def produced_object(media_url: str, names: Names) -> tuple[str, str] | None:
    """Return (bucket, key) of what a producing job made (its MediaURL), None if that is no URL of an object.

    A signature behind the URL says nothing of the object and is left out.
    """
    web = media_url.lower().startswith("http")
    return next(_named(media_url.partition("?")[0] if web else media_url, names), None)


def _named(text: str, names: Names) -> Iterator[tuple[str, str]]:
    if not text.startswith(_SCHEMES):
        return
    try:
        yield parse_object(text, names)
    except LocationError:
        return


def loops(
    activity_results: str, task_input: tuple[str, str] | None, names: Names, rules: RuleSet
) -> tuple[str, str, Rule] | None:
    """Return the first written object that would start a rule again, with that rule; None if none would.

    The task's own input may be repeated in its results and does not count.
    """
    written = (place for place in written_objects(activity_results, names) if place != task_input)
    return _first_started(written, rules)


def loops_by_job(media_url: str, names: Names, rules: RuleSet) -> tuple[str, str, Rule] | None:
    """Return what a producing job made, with the rule that it would start; None if it would start none.

    `media_url` is the job's own MediaURL. A job that wrote over its input would start again as well.
    """
    made = produced_object(media_url, names)
    return None if made is None else _first_started([made], rules)


def _first_started(written: Iterable[tuple[str, str]], rules: RuleSet) -> tuple[str, str, Rule] | None:
    for bucket, key in written:
        matched = rules.matching(bucket, key, None)
        if matched:
            return bucket, key, matched[0]
    return None


def _strings(value: object, depth: int) -> Iterator[str]:
    """Yield every string in a JSON value; results may hold JSON again inside a string."""
    if depth == 0:
        return
    match value:
        case str():
            yield value
            if value[:1] in ("{", "["):
                try:
                    yield from _strings(json.loads(value), depth - 1)
                except (ValueError, RecursionError):  # text of the service: any depth
                    return
        case dict():
            for each in value.values():
                yield from _strings(each, depth - 1)
        case list():
            for each in value:
                yield from _strings(each, depth - 1)
        case _:
            return
