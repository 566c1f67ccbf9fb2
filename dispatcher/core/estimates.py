"""What a backfill would do, added up object by object: the figures of a dry run. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.extensions import NONE_WORD, extension_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.core.calls import Api
    from dispatcher.core.ratelimit import Rate

EXAMPLES = 3
"""Keys shown for each rule."""
LEDGER_BYTES = 1_100
"""What one dispatch takes in the ledger until it is pruned: the row, its indexes, its attempt and its outcome.
Measured with keys of about 35 characters; the key stands in the row and in one index besides."""
_LEDGER_KEY_BYTES = 35
_COPIES_OF_KEY = 3


@dataclass(slots=True)
class Tally:
    """Objects, their bytes, and how many of them were dispatched before."""

    objects: int = 0
    bytes: int = 0
    known: int = 0

    @property
    def starts(self) -> int:
        """How many of them would be started."""
        return self.objects - self.known

    def add(self, size: int | None, *, known: bool) -> None:
        """Count one object. A size that is not known counts as nothing."""
        self.objects += 1
        self.bytes += size or 0
        self.known += known

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.objects + other.objects, self.bytes + other.bytes, self.known + other.known)


@dataclass(slots=True)
class RuleTally:
    """What one rule would start: by extension (`none` for names without a dot), and the first keys of it."""

    by_extension: dict[str, Tally] = field(default_factory=dict)
    examples: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> Tally:
        """All extensions together."""
        return sum(self.by_extension.values(), Tally())

    def add(self, bucket: str, key: str, size: int | None, *, known: bool) -> None:
        """Count one object of the rule."""
        extension = extension_of(key)
        self.by_extension.setdefault(NONE_WORD if extension is None else extension, Tally()).add(size, known=known)
        if not known and len(self.examples) < EXAMPLES:
            self.examples.append((bucket, key))


@dataclass(slots=True)
class Estimate:
    """What was counted. `rules` holds every rule in question, also one that would start nothing.

    `unsized`: matched objects whose size an inventory does not tell. `list_requests` is what this look cost,
    and what the backfill will cost again.
    """

    rules: dict[str, RuleTally]
    listed: int = 0
    matched: int = 0
    unsized: int = 0
    list_requests: int = 0
    head_requests: int = 0
    key_bytes: int = 0

    @property
    def total(self) -> Tally:
        """All rules together: an object that two rules match counts twice, as it would start twice."""
        return sum((each.total for each in self.rules.values()), Tally())

    @property
    def starts(self) -> int:
        return self.total.starts

    def ledger_bytes(self, most: int | None) -> int:
        """Return about how much the ledger grows by at most so many starts."""
        starts = self.starts if most is None else min(most, self.starts)
        mean = self.key_bytes / self.starts if self.starts else 0
        return round(starts * (LEDGER_BYTES + _COPIES_OF_KEY * max(0.0, mean - _LEDGER_KEY_BYTES)))

    def add(self, rule: str, bucket: str, key: str, size: int | None, *, known: bool) -> None:
        """Count one object that a rule matches."""
        self.rules[rule].add(bucket, key, size, known=known)
        self.unsized += size is None
        if not known:
            self.key_bytes += len(key)

    def calls(self, needed: Mapping[str, tuple[Api, ...]]) -> Counter[Api]:
        """Return how many calls of each API the starts need; `needed` holds the calls of one start, by rule."""
        calls: Counter[Api] = Counter()
        for rule, tally in self.rules.items():
            for api in needed[rule]:
                calls[api] += tally.total.starts
        return +calls


def time_needed(calls: Mapping[Api, int], rates: Mapping[Api, Rate], max_rate: Rate | None) -> timedelta:
    """Return how long these calls take at least: the slowest API decides, or the backfill's own rate."""
    slowest = max((count / rates[api].per_second for api, count in calls.items()), default=0.0)
    own = 0.0 if max_rate is None else sum(calls.values()) / max_rate.per_second
    return timedelta(seconds=max(slowest, own))
