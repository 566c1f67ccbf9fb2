"""How one key finds its rules: prefixes in a table, and the two readings of a bound path. Pure.

A table of prefixes is probed once for each distinct prefix length, so a key costs the same
whether there are ten rules or ten thousand.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from dispatcher.core.extensions import MEDIA_EXTENSIONS, extension_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of the keys under a bound path: those that begin with `prefix`.

    With `extension`, only those whose last segment begins where the prefix's does (the same
    folder) and has this extension, in lower case.
    """

    prefix: str
    extension: str | None = None

    def matches(self, key: str) -> bool:
        """Tell whether the key has this form."""
        if not key.startswith(self.prefix):
            return False
        if self.extension is None:
            return True
        return "/" not in key[len(self.prefix) :] and extension_of(key) == self.extension


def file_name_extension(path: str) -> str | None:
    """Return the media extension that a bound path ends in, None for a folder or other name."""
    extension = extension_of(path)
    return extension if extension in MEDIA_EXTENSIONS else None


def shapes_of(path: str, *, documented: bool) -> tuple[Shape, ...]:
    """Return the forms of the keys that a bound path stands for; a key matches if it has any.

    The raw string prefix always. In the documented reading a path that ends in a media file's
    name (`A/test.flv`) stands also for files of the same extension in the same folder whose
    name begins with its stem (`A/test1.flv`): example 5 of the service's matching table.
    """
    whole = Shape(path)
    extension = file_name_extension(path) if documented else None
    if extension is None:
        return (whole,)
    return whole, Shape(path[: -len(extension) - 1], extension)


class PrefixTable(Generic[T]):
    """Values by key prefix. Immutable after construction, so any thread may look up."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        self._values: dict[str, list[T]] = {}
        for prefix, value in entries:
            self._values.setdefault(prefix, []).append(value)
        self._lengths = sorted({len(prefix) for prefix in self._values})

    def under(self, key: str) -> Iterator[T]:
        """Yield the values of every prefix of the key, shortest prefix first."""
        values = self._values
        for length in self._lengths[: bisect_right(self._lengths, len(key))]:
            found = values.get(key[:length])
            if found is not None:
                yield from found

    def covers(self, key: str) -> bool:
        """Tell whether any prefix of the key is in the table."""
        return any(True for _ in self.under(key))


def minimal_prefixes(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Return, sorted, the prefixes that lie under no other one of them."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        # Sorted, everything under a prefix follows it without a gap.
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return tuple(kept)


def never(_key: str) -> bool:
    """Exclude nothing: the filter of a rule without `exclude`."""
    return False


def exclusion(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return the filter of these gitwildmatch patterns on the whole key: True is excluded.

    The last pattern that matches decides, and `!` takes back. Raises ValueError for a pattern
    that means nothing.
    """
    if not patterns:
        return never
    from pathspec.patterns.gitignore.basic import (  # noqa: PLC0415 - most configurations exclude nothing, and it is slow to import
        GitIgnoreBasicPattern,
    )

    compiled = [
        (found.regex.match, bool(found.include)) for found in map(GitIgnoreBasicPattern, patterns) if found.regex
    ]
    # The patterns themselves rather than a PathSpec: that would rewrite keys such as "./a".
    newest_first = compiled[::-1]

    def excluded(key: str) -> bool:
        return next((include for match, include in newest_first if match(key)), False)

    return excluded
