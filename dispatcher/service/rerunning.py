"""`dispatches rerun`: selected dispatches once more, as rows of a named run.

A row that ended keeps its end; the object gets another row under the run's name, which stands behind everything live.
The content is that of the row: each object is looked at first, and one that is gone or has other bytes now is not
started in its place, for what lies there now has a dispatch of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

from dispatcher.core.backfilling import BackfillKind, BackfillState
from dispatcher.core.dispatch import DispatchState, content_identity, dispatch_id
from dispatcher.core.location import object_url
from dispatcher.core.scope import Scope, scope_text
from dispatcher.errors import UsageError
from dispatcher.ledger import backfills, browse
from dispatcher.ledger.backfills import NewBackfill
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.recording import NewDispatch, known_ids
from dispatcher.service.heads import Unreadable, look_at

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.documents import Record
    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.browse import DispatchView
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.heads import Store
    from dispatcher.sources.store import ObjectHead

SOURCE_RERUN = "rerun"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CHUNK = 250
"""Rows looked at together."""
_ENDED = (DispatchState.STARTED, DispatchState.DEAD, DispatchState.SKIPPED)


class NotRerun(StrEnum):
    """Why a selected dispatch does not run again.

    UNFINISHED: it has not ended, so that it may start yet. GONE: there is no such object any more. CHANGED: it has
    other content now. UNMATCHED: no rule of the configuration takes it any more under this id. UNREADABLE: the store
    does not let us look.
    """

    UNFINISHED = "UNFINISHED"
    GONE = "GONE"
    CHANGED = "CHANGED"
    UNMATCHED = "UNMATCHED"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, slots=True)
class Selected:
    """What a selection means before anything is done: how many, and how many of them were started before."""

    rows: int
    started: int


@dataclass
class Rerun:
    """What was done. `known`: had a row of this run already. `backfill` is the number under which the rows stand."""

    selected: int = 0
    recorded: int = 0
    known: int = 0
    backfill: int | None = None
    not_rerun: Counter[NotRerun] = field(default_factory=Counter)
    examples: dict[NotRerun, tuple[str, str]] = field(default_factory=dict)

    def refuse(self, reason: NotRerun, place: tuple[str, str]) -> None:
        """Count a row that does not run again, and keep the first object for each reason."""
        self.not_rerun[reason] += 1
        self.examples.setdefault(reason, place)


def selected(tx: Connection, selector: Selector) -> Selected:
    """Return how many dispatches are selected, and how many of them were started."""
    rows = browse.count(tx, selector)
    if selector.states and DispatchState.STARTED not in selector.states:
        return Selected(rows, 0)
    return Selected(rows, browse.count(tx, replace(selector, states=(DispatchState.STARTED,))))


@dataclass(frozen=True)
class Rerunning:
    """Records selected dispatches under a run. Idempotent: the same name again adds nothing; killed, run it again."""

    settings: Settings
    ledger: Ledger
    stores: Mapping[str, Store]
    clock: Callable[[], datetime]
    stop: threading.Event

    def rerun(self, selector: Selector, name: str) -> Rerun:
        """Record a row of run `name` for each selected dispatch that ended. Raises DispatcherError."""
        done = Rerun()
        with self.ledger.read() as tx:
            ids = iter([view.dispatch_id for view in browse.select(tx, selector, self.clock())])
        while chunk := tuple(islice(ids, CHUNK)):
            with self.ledger.read() as tx:
                views = list(browse.select(tx, Selector(ids=chunk), self.clock()))
            done.selected += len(views)
            self._record(list(self._again(views, name, done)), name, done)
        with self.ledger.write() as tx:
            begun = backfills.unfinished(tx, _fingerprint(name))  # also one whose recording was killed
            if begun is not None:
                backfills.complete(tx, begun.number, self.clock())
        return done

    def _again(self, views: Sequence[DispatchView], name: str, done: Rerun) -> Iterator[NewDispatch]:
        """Yield the rows of the run for what still is as it was."""
        wanted: list[tuple[DispatchView, Rule]] = []
        for view in views:
            rule = self._rule_of(view)
            if view.run == name:
                done.known += 1
            elif view.state not in _ENDED:
                done.refuse(NotRerun.UNFINISHED, (view.bucket, view.key))
            elif rule is None:
                done.refuse(NotRerun.UNMATCHED, (view.bucket, view.key))
            else:
                wanted.append((view, rule))
        heads = look_at(self.stores, ((view.bucket, view.key) for view, _ in wanted), self.stop)
        for view, rule in wanted:
            place = (view.bucket, view.key)
            head = heads[place]
            refused = _why_not(view, head)
            if refused is None and head is not None and not isinstance(head, Unreadable):
                yield _row(view, rule, head, name)
            else:
                done.refuse(refused or NotRerun.GONE, place)

    def _rule_of(self, view: DispatchView) -> Rule | None:
        """Return the rule that a row is of and that still takes its object."""
        taking = self.settings.rules.matching(view.bucket, view.key, view.size)
        return next((rule for rule in taking if view.rule in (rule.id, *rule.was)), None)

    def _record(self, rows: Sequence[NewDispatch], name: str, done: Rerun) -> None:
        now = self.clock()
        with self.ledger.write() as tx:
            known = known_ids(tx, {each for row in rows for each in (row.dispatch_id, *row.aliases)})
            new = [row for row in rows if known.isdisjoint((row.dispatch_id, *row.aliases))]
            done.known += len(rows) - len(new)
            if new:
                done.backfill = done.backfill or _backfill(tx, name, now)
                done.recorded += backfills.record(tx, done.backfill, new, now).recorded


def _fingerprint(name: str) -> str:
    return f"rerun {name}"


def _backfill(tx: Connection, name: str, now: datetime) -> int:
    """Return the backfill of this run that has not ended, going; else a new one."""
    there = backfills.unfinished(tx, _fingerprint(name))
    if there is None:
        new = NewBackfill(BackfillKind.RERUN, _fingerprint(name), scope_text(Scope(run=name)), run=name)
        return backfills.create(tx, new, now).number
    if there.state is not BackfillState.RUNNING:
        backfills.resume(tx, there.number, now)
    return there.number


def _why_not(view: DispatchView, head: ObjectHead | Unreadable | None) -> NotRerun | None:
    if head is None:
        return NotRerun.GONE
    if isinstance(head, Unreadable):
        return NotRerun.UNREADABLE
    same = content_identity(head.etag, head.size) == content_identity(view.etag, view.size)
    return None if same else NotRerun.CHANGED


def _row(view: DispatchView, rule: Rule, head: ObjectHead, name: str) -> NewDispatch:
    identity = content_identity(view.etag, view.size)
    return NewDispatch(
        dispatch_id=dispatch_id(rule.id, view.bucket, view.key, identity, name),
        rule_id=rule.id,
        bucket=view.bucket,
        key=view.key,
        etag=view.etag,
        size=view.size,
        run=name,
        source=SOURCE_RERUN,
        modified_at=head.modified_at,
        aliases=tuple(dispatch_id(old, view.bucket, view.key, identity, name) for old in rule.was),
    )


def check_name(name: str) -> None:
    """Raise UsageError for a name that is none: it stands in tables and commands, and for ever in the ledger."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--again {name}: not a name",
            hint="write up to 64 letters, digits, dots, dashes and underscores: fix-2026-03",
        )


def rerun_json(done: Rerun, name: str) -> Record:
    """Return what a rerun did, for programs."""
    return {
        "run": name,
        "selected": done.selected,
        "recorded": done.recorded,
        "known": done.known,
        "backfill": done.backfill,
        "not_rerun": [
            {"reason": reason.value, "count": count, "example": object_url(*done.examples[reason])}
            for reason, count in sorted(done.not_rerun.items())
        ],
    }
