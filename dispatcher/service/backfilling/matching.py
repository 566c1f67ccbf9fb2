"""From objects to rows: what of a scope matches which rules, and what HEAD says of what is only hearsay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dispatcher.core.dispatch import content_identity, dispatch_id
from dispatcher.ledger.recording import SOURCE_BACKFILL, NewDispatch
from dispatcher.service.heads import Unreadable, look_at
from dispatcher.service.intake import GROWING_SETTLE

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.rules import Rule, RuleSet
    from dispatcher.core.scope import Scope
    from dispatcher.service.heads import Store

HEADS_AT_ONCE = 100
"""Objects that are asked for before the next look whether to stop."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object that is covered, and the rules that match it."""

    event: ObjectEvent
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Decided:
    """Candidates whose content is known. `known` counts rows that need no look, `gone` objects that are no more."""

    candidates: Sequence[Candidate]
    known: int = 0
    gone: int = 0


@dataclass(frozen=True)
class Matching:
    """Decides what of a scope is dispatched. `rules` are those that it covers."""

    rules: RuleSet
    scope: Scope
    stores: Mapping[str, Store]

    def select(self, events: Iterable[ObjectEvent]) -> list[Candidate]:
        """Return the events that are covered and that a rule matches."""
        found = (Candidate(event, self._matching(event)) for event in events)
        return [candidate for candidate in found if candidate.rules]

    def rows(self, candidate: Candidate) -> list[NewDispatch]:
        """Return the rows of an object whose content is known, one for each rule, as the live path makes them."""
        return [self._row(rule, candidate.event) for rule in candidate.rules]

    def decide(
        self, candidates: Sequence[Candidate], known: Callable[[Collection[str]], set[str]], stop: threading.Event
    ) -> Decided:
        """Let HEAD tell the content of what is not decided, unless `known` has all its rows already.

        Ends early once `stop` is set. Raises DispatcherError where the store refuses or fails.
        """
        certain = [each for each in candidates if each.event.decided]
        hearsay = [each for each in candidates if not each.event.decided]
        if not hearsay:
            return Decided(certain)
        rows = {id(each): self._rows_told(each) for each in hearsay}
        ids = known(
            {one for of_object in rows.values() for row in of_object for one in (row.dispatch_id, *row.aliases)}
        )
        asked = [each for each in hearsay if not rows[id(each)] or any(_new(row, ids) for row in rows[id(each)])]
        dropped = sum(len(each.rules) for each in hearsay) - sum(len(each.rules) for each in asked)
        gone = 0
        for start in range(0, len(asked), HEADS_AT_ONCE):
            if stop.is_set():
                break
            seen = self._look(asked[start : start + HEADS_AT_ONCE], stop)
            gone += sum(event is None for event in seen)
            certain += self.select(event for event in seen if event is not None)
        return Decided(certain, dropped, gone)

    def _matching(self, event: ObjectEvent) -> tuple[Rule, ...]:
        if not self.scope.reaches(event.bucket, event.key) or not self.scope.period.covers(event.modified_at):
            return ()
        return self.rules.matching(event.bucket, event.key, event.size)

    def _rows_told(self, candidate: Candidate) -> list[NewDispatch]:
        """Return the rows if what is told is true; none where it tells too little."""
        event = candidate.event
        return [] if event.etag is None or event.size is None else self.rows(candidate)

    def _look(self, asked: Sequence[Candidate], stop: threading.Event) -> list[ObjectEvent | None]:
        heads = look_at(self.stores, [(each.event.bucket, each.event.key) for each in asked], stop)
        seen: list[ObjectEvent | None] = []
        for each in asked:
            head = heads[each.event.bucket, each.event.key]
            if isinstance(head, Unreadable):
                raise head.error
            seen.append(
                None
                if head is None
                else replace(
                    each.event,
                    etag=head.etag,
                    size=head.size,
                    modified_at=head.modified_at,
                    growing=head.growing,
                    hearsay=False,
                )
            )
        return seen

    def _row(self, rule: Rule, event: ObjectEvent) -> NewDispatch:
        assert event.etag is not None  # noqa: S101 - only decided events become rows
        assert event.size is not None  # noqa: S101 - as above
        identity, run = content_identity(event.etag, event.size), self.scope.run
        return NewDispatch(
            dispatch_id=dispatch_id(rule.id, event.bucket, event.key, identity, run),
            rule_id=rule.id,
            bucket=event.bucket,
            key=event.key,
            etag=event.etag,
            size=event.size,
            run=run,
            source=SOURCE_BACKFILL,
            modified_at=event.modified_at,
            aliases=tuple(dispatch_id(old, event.bucket, event.key, identity, run) for old in rule.was),
            settle=rule.settle or (GROWING_SETTLE if event.growing else None),
            growing=event.growing,
        )


def _new(row: NewDispatch, known: set[str]) -> bool:
    return row.dispatch_id not in known and known.isdisjoint(row.aliases)
