"""What a backfill covers: rules, a place, a period. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dispatcher.core.location import Location
from dispatcher.core.quantities import format_duration, parse_duration
from dispatcher.core.rules import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SLACK = timedelta(hours=24)
"""How much earlier than it was complete an object may be dated: a multipart upload may carry its start."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as an operator wrote it, and what it means (aware)."""

    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Period:
    """Which Last-Modified is covered: since - slack <= modified < until. None: no bound."""

    since: Moment | None = None
    until: Moment | None = None
    slack: timedelta = SLACK

    def covers(self, modified_at: datetime | None) -> bool:
        """Tell whether an object of this time is covered. One whose time is unknown is: nothing is lost."""
        if modified_at is None:
            return True
        if self.since is not None and modified_at < self.since.at - self.slack:
            return False
        return self.until is None or modified_at < self.until.at

    @property
    def bounded(self) -> bool:
        return self.since is not None or self.until is not None


@dataclass(frozen=True, slots=True)
class Scope:
    """What one backfill covers. `rules` are ids, empty for all; `run` is the name of `--again`.

    `inventory` is where the manifest of an inventory is, None for a listing.
    """

    rules: tuple[str, ...] = ()
    place: Location | None = None
    period: Period = field(default_factory=Period)
    run: str = ""
    inventory: str | None = None

    @property
    def narrow(self) -> bool:
        """Whether anything narrows it. An inventory does not: it is the whole bucket."""
        return bool(self.rules) or self.place is not None or self.period.bounded

    def of(self, rules: RuleSet) -> RuleSet:
        """Return the rules of the configuration that are covered; what never triggers stays."""
        if not self.rules:
            return rules
        return RuleSet([rule for rule in rules.rules if rule.id in self.rules], rules.never_trigger)

    def reaches(self, bucket: str, key: str) -> bool:
        """Tell whether the object lies in the place that is covered."""
        return self.place is None or self.place.covers(bucket, key)

    def roots(self, rules: RuleSet, bucket: str) -> tuple[str, ...]:
        """Return the prefixes to list: all of the rules' roots, or what of them lies in the place."""
        if self.place is None:
            return rules.roots(bucket)
        return tuple(_within(rules.roots(bucket), self.place.prefix)) if self.place.bucket == bucket else ()

    def fingerprint(self) -> str:
        """Return a text that is equal for the same request: a duration counts as it is written."""
        written = {
            "rules": sorted(self.rules),
            "place": None if self.place is None else str(self.place),
            "since": self.period.since and self.period.since.text,
            "until": self.period.until and self.period.until.text,
            "slack": format_duration(self.period.slack) if self.period.since else None,
            "run": self.run,
            "inventory": self.inventory,
        }
        return json.dumps(written, ensure_ascii=True, sort_keys=True)


def scope_text(scope: Scope) -> str:
    """Return a scope as the JSON text that the ledger keeps."""
    place, period = scope.place, scope.period
    parts = {
        "rules": list(scope.rules),
        "place": None if place is None else [place.bucket, place.prefix],
        "since": _moment_parts(period.since),
        "until": _moment_parts(period.until),
        "slack": format_duration(period.slack),
        "run": scope.run,
        "inventory": scope.inventory,
    }
    return json.dumps(parts, ensure_ascii=True)


def scope_from_text(text: str) -> Scope:
    """Return the scope that `scope_text` wrote."""
    parts = json.loads(text)
    return Scope(
        rules=tuple(parts["rules"]),
        place=None if parts["place"] is None else Location(*parts["place"]),
        period=Period(_moment(parts["since"]), _moment(parts["until"]), parse_duration(parts["slack"])),
        run=parts["run"],
        inventory=parts["inventory"],
    )


def _moment_parts(moment: Moment | None) -> list[str] | None:
    return None if moment is None else [moment.text, moment.at.astimezone(UTC).isoformat()]


def _moment(parts: list[str] | None) -> Moment | None:
    return None if parts is None else Moment(parts[0], datetime.fromisoformat(parts[1]))


def _within(roots: Iterable[str], prefix: str) -> Iterator[str]:
    """Yield what to list of these roots inside a prefix."""
    for root in roots:
        if prefix.startswith(root):
            yield prefix
        elif root.startswith(prefix):
            yield root
