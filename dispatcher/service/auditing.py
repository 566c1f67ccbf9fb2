"""`audit`: the account that adds up. One plain listing; every match of every rule must be known to the ledger.

Nothing of the daemon's own looks is used: not its passes, not its events. Nothing is called or written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dispatcher.core.belonging import ids_of
from dispatcher.core.rules import Reason
from dispatcher.ledger import rulesets, sightings, snapshots
from dispatcher.ledger.adopting import states_of
from dispatcher.sources.objects import ObjectListing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.dispatch import DispatchState
    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.sources.paging import Lister

KEPT_BACK = 20_000
"""Matches without a row that are looked up in the snapshot together: each look reads all of its hashes."""
MOST_NAMED = 10_000
"""Unaccounted matches that are named; all are counted."""
_AT_ONCE = 500


class Otherwise(StrEnum):
    """What a match without a row may be."""

    EXISTING = "existing"
    """The object was there before the rule, and the rule does not ask for such."""
    UNDECIDED = "undecided"
    """A sighting of it waits for what the store says of its content."""


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """A match that the ledger knows nothing of. `newer`: its object is younger than the last complete pass."""

    rule: str
    bucket: str
    key: str
    newer: bool


@dataclass
class Audit:
    """What was found. For `rules` rules each object counts `rules` times: once matched, or by why it was not.

    `unaccounted_count` may be larger than what is named. `complete` only if every listing came to its end.
    """

    rules: int
    listed: int = 0
    matched: int = 0
    list_requests: int = 0
    not_matched: Counter[Reason] = field(default_factory=Counter)
    by_state: Counter[str] = field(default_factory=Counter)
    unaccounted: list[Unaccounted] = field(default_factory=list)
    unaccounted_count: int = 0
    complete: bool = False

    @property
    def balanced(self) -> bool:
        """Whether every match of every object is accounted for."""
        return self.complete and self.unaccounted_count == 0 and self.matched == sum(self.by_state.values())


@dataclass(frozen=True, slots=True)
class _Match:
    rule: Rule
    event: ObjectEvent

    def ids(self) -> tuple[str, ...]:
        """Return the ids that its dispatch may have; none while the content is not known."""
        event = self.event
        if event.etag is None or event.size is None:
            return ()
        return tuple(ids_of(self.rule, event.bucket, event.key, event.etag, event.size))


@dataclass
class Auditor:
    """Audits all buckets that rules read. One thread. `progress` is told how many objects were looked at."""

    settings: Settings
    ledger: Ledger
    stores: Mapping[str, Lister]
    stop: threading.Event
    progress: Callable[[int], None] = lambda _objects: None

    def audit(self) -> Audit:
        """List every bucket once and account for each match. Ends early once `stop` is set.

        Raises DispatcherError: a listing that fails proves nothing. Bounded memory.
        """
        rules = self.settings.rules
        found = Audit(len(rules.rules))
        for bucket in rules.buckets():
            here = sum(rule.input.bucket == bucket for rule in rules.rules)
            listing = ObjectListing(self.settings.buckets[bucket], rules.roots(bucket), self.stores[bucket])
            rest: list[_Match] = []
            for page in listing.pages(self.stop):
                rest += self._without_row(found, list(self._judge(found, page, here)))
                found.listed += len(page)
                self.progress(found.listed)
                if len(rest) >= KEPT_BACK:
                    self._look_up(found, bucket, rest)
                    rest = []
            self._look_up(found, bucket, rest)
            found.list_requests += listing.requests
        found.complete = not self.stop.is_set()
        return found

    def _judge(self, found: Audit, page: Sequence[ObjectEvent], here: int) -> Iterator[_Match]:
        """Yield the matches of a page and count the other verdicts. `here`: how many rules read this bucket."""
        rules = self.settings.rules
        for event in page:
            near = rules.near(event.bucket, event.key, event.size)
            found.not_matched[Reason.BUCKET] += found.rules - here
            found.not_matched[Reason.PREFIX] += here - len(near)
            for verdict in near:
                if verdict.matched:
                    found.matched += 1
                    yield _Match(verdict.rule, event)
                else:
                    found.not_matched[verdict.reason] += 1

    def _without_row(self, found: Audit, matches: Sequence[_Match]) -> Iterator[_Match]:
        """Count the matches that have a row or a tombstone, by its state; yield the others."""
        for begin in range(0, len(matches), _AT_ONCE):
            ids = [(match, match.ids()) for match in matches[begin : begin + _AT_ONCE]]
            with self.ledger.read() as tx:
                states = _states(tx, [each for _, some in ids for each in some])
            for match, some in ids:
                state = next((states[each][0] for each in some if each in states), None)
                if state is None:
                    yield match
                else:
                    found.by_state[state.value] += 1

    def _look_up(self, found: Audit, bucket: str, matches: Sequence[_Match]) -> None:
        """Tell what matches without a row are: known before their rule was, still undecided, or not accounted for."""
        if not matches:
            return
        with self.ledger.read() as tx:
            first = rulesets.first_revisions(tx)
            known = snapshots.revisions_of(
                tx, bucket, [(match.event.key, match.event.etag, match.event.size or 0) for match in matches]
            )
            waiting = _waiting(tx, bucket, [match.event.key for match in matches])
            since = rulesets.since(tx)
            passed = {root.root: root.listed_at for root in snapshots.statistics(tx) if root.bucket == bucket}
        for match, revision in zip(matches, known, strict=True):
            before = first.get(match.rule.id)
            older = revision is not None and (before is None or revision < before)
            # Without listings only the time tells what was there before.
            older = older or (not passed and _made_before(match, since.get(match.rule.id)))
            if older and not _wanted(match):
                found.by_state[Otherwise.EXISTING] += 1
            elif match.event.key in waiting:
                found.by_state[Otherwise.UNDECIDED] += 1
            else:
                _note(found, match, passed)


def _states(tx: Connection, ids: Sequence[str]) -> dict[str, tuple[DispatchState, str | None]]:
    found: dict[str, tuple[DispatchState, str | None]] = {}
    for begin in range(0, len(ids), _AT_ONCE):
        found.update(states_of(tx, ids[begin : begin + _AT_ONCE]))
    return found


def _waiting(tx: Connection, bucket: str, keys: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for begin in range(0, len(keys), _AT_ONCE):
        found |= sightings.waits_for(tx, bucket, set(keys[begin : begin + _AT_ONCE]))
    return found


def _made_before(match: _Match, since: datetime | None) -> bool:
    made = match.event.modified_at
    return since is not None and made is not None and made < since.replace(microsecond=0)


def _wanted(match: _Match) -> bool:
    """Tell whether the rule asks for objects that were there before it, and for this one."""
    wish = match.rule.existing
    made = match.event.modified_at
    return wish.dispatch and (wish.since is None or (made is not None and made >= wish.since))


def _note(found: Audit, match: _Match, passed: Mapping[str, datetime | None]) -> None:
    found.unaccounted_count += 1
    if len(found.unaccounted) >= MOST_NAMED:
        return
    event = match.event
    seen = [at for root, at in passed.items() if event.key.startswith(root) and at is not None]
    newer = event.modified_at is not None and (not seen or event.modified_at > max(seen))
    found.unaccounted.append(Unaccounted(match.rule.id, event.bucket, event.key, newer))
