"""Pages of a list that only grows at its end: a token is the number of the last item that was shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from dispatcher.simulator.actions.parameters import Parameters, invalid, is_number, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Which page is asked for: `size` items after number `last` in the direction of the listing."""

    size: int
    last: int | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and the token of the page after them (empty: there is none)."""

    items: list[Item]
    next_token: str


def read_cursor(
    parameters: Parameters, *, default: int = 10, least: int = 1, most: int = 100, ascending: bool = False
) -> Cursor:
    """Return what MaxResults and NextToken ask for, else raise Refused."""
    size = whole_number(parameters, "MaxResults", default, least, most)
    token = parameters.get("NextToken")
    if token and not is_number(token):
        raise invalid("NextToken", "it is not a token of ours")
    return Cursor(size or default, int(token) if token else None, ascending)


def cut(items: Sequence[Item], cursor: Cursor, wanted: Callable[[Item], bool]) -> Page[Item]:
    """Return the page. A full one may be the last: then the next is empty, as with the real service's tokens."""
    if cursor.ascending:
        numbers = range(0 if cursor.last is None else cursor.last + 1, len(items))
    else:
        numbers = range(len(items) - 1 if cursor.last is None else min(cursor.last, len(items)) - 1, -1, -1)
    found: list[Item] = []
    for number in numbers:
        if wanted(items[number]):
            found.append(items[number])
            if len(found) == cursor.size:
                return Page(found, str(number) if number != numbers[-1] else "")
    return Page(found, "")
