"""`db adopt`: what the service was asked to start becomes known to this ledger, so that it is never started again.

For a ledger that was lost or is old, and for taking over from another starter. Each page is committed by itself;
killed anywhere and run again it goes on, for what is known is only looked at again.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dispatcher import crashpoints
from dispatcher.core.belonging import ids_of
from dispatcher.core.calls import Api
from dispatcher.core.dispatch import DispatchState
from dispatcher.ledger import adopting, notices, settling
from dispatcher.ledger.adopting import Adopted, AdoptedObject
from dispatcher.ledger.notices import NoticeCode
from dispatcher.ledger.settling import TaskFound
from dispatcher.service.adoption import Adoption, NotAdopted
from dispatcher.service.behind import needed_since
from dispatcher.service.heads import Unreadable, look_at

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.belonging import Start
    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.heads import Store
    from dispatcher.service.starts import ServiceStarts
    from dispatcher.sources.store import ObjectHead

    States = Mapping[str, tuple[DispatchState, str | None]]
    Heads = Mapping[tuple[str, str], ObjectHead | Unreadable | None]

_BY_ANOTHER_STARTER = 0
"""Number of the attempt that a task without our id answers: it was not ours."""


@dataclass(frozen=True)
class Adopting:
    """Takes starts over into one ledger. Idempotent; one thread at a time.

    `foreign`: also tasks that carry no id of ours, by the object that they read. `dry_run`: what is written is taken
    back, page by page.
    """

    settings: Settings
    ledger: Ledger
    starts: ServiceStarts
    stores: Mapping[str, Store]
    clock: Callable[[], datetime]
    stop: threading.Event
    foreign: bool = False
    dry_run: bool = False
    progress: Callable[[Adoption], None] = lambda _done: None

    def adopt(self, since: datetime, until: datetime) -> Adoption:
        """Take over the starts of the window; return what was done. Raises DispatcherError: run it again.

        While it runs the ledger counts as behind, so that no other process begins to call; this is taken back
        when every start was read that the ledger may not know.
        """
        done = Adoption()
        begun = self.clock()
        with self._write() as tx:
            if NoticeCode.LEDGER_BEHIND not in notices.standing(tx):
                detail = "db adopt is at work, or was interrupted: run it again"
                notices.post(tx, NoticeCode.LEDGER_BEHIND, detail, begun)
        for page in self.starts.everything(since, until):
            if self.stop.is_set():
                return done
            self._take(page, done)
            crashpoints.reach("adopted_page")
            self.progress(done)
        with self._write() as tx:
            done.complete = True
            done.behind = since > needed_since(tx, begun) or until < begun
            if not done.behind:
                notices.lift(tx, NoticeCode.LEDGER_BEHIND)
        return done

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """Yield a transaction; that of a dry run is taken back."""
        with self.ledger.write() as tx:
            yield tx
            if self.dry_run:
                tx.rollback()

    def _take(self, page: Sequence[Start], done: Adoption) -> None:
        done.listed += len(page)
        ids = {start.token[0] for start in page if start.token is not None}
        with self.ledger.read() as tx:
            known = adopting.states_of(tx, ids)
        heads = look_at(self.stores, (place for start in page for place in self._to_look_at(start, known)), self.stop)
        for head in heads.values():
            if isinstance(head, Unreadable) and done.unreadable is None:
                done.unreadable = head.error.message
        now = self.clock()
        with self._write() as tx:
            known = adopting.states_of(tx, ids)
            self._take_own(tx, [start for start in page if start.token is not None], known, heads, done, now)
            for start in page:
                if start.token is None:
                    self._take_foreign(tx, start, heads, done, now)

    def _to_look_at(self, start: Start, known: States) -> Sequence[tuple[str, str]]:
        if start.token is not None:
            return () if start.token[0] in known else start.objects
        return start.objects if self.foreign and self._started(start) else ()

    # -- starts with our id ---------------------------------------------------------------------------

    def _take_own(  # noqa: PLR0913, PLR0917 - one page: what it is, what is known of it, what comes of it
        self, tx: Connection, page: Sequence[Start], known: States, heads: Heads, done: Adoption, now: datetime
    ) -> None:
        """Insert what is new, and let all that carries an id of this ledger be evidence, as in a sweep."""
        ours = [start for start in page if start.of_a_rule or (start.token is not None and start.token[0] in known)]
        done.elsewhere += len(page) - len(ours)
        found = [(self._own(start, heads), start) for start in ours]
        aliases = self._aliases(
            tx, [start for start in ours if start.token is not None and start.token[0] not in known]
        )
        inserted = adopting.insert(
            tx, [replace(each, object=None) if each.dispatch_id in aliases else each for each, _ in found], now
        )
        for each, _ in found:
            if each.dispatch_id in known:
                adopting.attach(tx, each.dispatch_id, each)
        told = settling.settle_evidence(tx, [_evidence(each, start) for each, start in found], now)
        new = {*inserted.rows, *inserted.tombstones}
        done.rows += len(inserted.rows)
        done.tombstones += len(inserted.tombstones)
        done.known += sum(each.dispatch_id in known for each, _ in found)
        done.settled += sum(task.dispatch_id not in new for task in told.settled)
        done.finished += sum(task.dispatch_id not in new for task in told.finished)
        done.double_starts += len(told.double_starts)
        done.settled += self._settle_aliases(tx, found, aliases, now)

    def _aliases(self, tx: Connection, unknown: Sequence[Start]) -> dict[str, str]:
        """Return, for ids under former names of rules, the rows that stand for the same content under the present one.

        They were recorded while the ledger did not know what had been started under the former name.
        """
        places = list(dict.fromkeys(place for start in unknown for place in start.objects))
        wanted = {start.token[0] for start in unknown if start.token is not None}
        found: dict[str, str] = {}
        for rule in (rule for rule in self.settings.rules.rules if rule.was):
            for row in adopting.contents_of(tx, rule.id, places):
                for former in ids_of(rule, row.bucket, row.key, row.etag, row.size):
                    if former in wanted and former != row.dispatch_id:
                        found[former] = row.dispatch_id
        return found

    @staticmethod
    def _settle_aliases(
        tx: Connection, found: Sequence[tuple[Adopted, Start]], aliases: Mapping[str, str], now: datetime
    ) -> int:
        """Let what was started under a former name count for the row under the present one; return how many."""
        settled = 0
        for each, start in found:
            row = aliases.get(each.dispatch_id)
            if row is not None:
                adopting.attach(tx, row, each)
                told = settling.settle_evidence(tx, [replace(_evidence(each, start), dispatch_id=row)], now)
                settled += len(told.settled)
        return settled

    def _own(self, start: Start, heads: Heads) -> Adopted:
        """Return a start with our id; with its object where the present content has this id under a rule."""
        assert start.token is not None  # noqa: S101 - the caller's choice
        dispatch, attempt = start.token
        for place in start.objects:
            head = heads.get(place)
            if head is None or isinstance(head, Unreadable):
                continue
            for rule in self.settings.rules.matching(*place, None):
                if dispatch in ids_of(rule, *place, head.etag, head.size):
                    return _adopted(start, dispatch, attempt, _object(rule, place, head))
        return _adopted(start, dispatch, attempt, None)

    # -- starts without our id ------------------------------------------------------------------------

    def _started(self, start: Start) -> list[tuple[tuple[str, str], Rule]]:
        """Return the objects that a task may have read, with the rules that start its workflow for them."""
        if start.api is not Api.START_WORKFLOW:
            return []
        return [
            (place, rule)
            for place in start.objects
            for rule in self.settings.rules.matching(*place, None)
            if rule.workflow_id == start.workflow_id
        ]

    def _take_foreign(self, tx: Connection, start: Start, heads: Heads, done: Adoption, now: datetime) -> None:
        """Take a task without our id for the start of what its rules would start, if it read this content."""
        started = self._started(start)
        if not started:
            done.elsewhere += 1
            return
        done.without_id += 1
        if not self.foreign:
            return
        for place, rule in started:
            head = heads.get(place)
            refused = _why_not(start, head)
            if refused is not None or head is None or isinstance(head, Unreadable):
                done.refuse(refused or NotAdopted.GONE, place)
                continue
            names = list(ids_of(rule, *place, head.etag, head.size))
            states = adopting.states_of(tx, names)
            dispatch = next((each for each in names if each in states), names[0])
            self._take_as(
                tx, start, _adopted(start, dispatch, _BY_ANOTHER_STARTER, _object(rule, place, head)), done, now
            )

    @staticmethod
    def _take_as(tx: Connection, start: Start, adopted: Adopted, done: Adoption, now: datetime) -> None:
        assert adopted.object is not None  # noqa: S101 - a task without our id is known by its object
        place = (adopted.object.bucket, adopted.object.key)
        state, task_id = adopting.states_of(tx, [adopted.dispatch_id]).get(adopted.dispatch_id, (None, None))
        if task_id == start.task_id:
            done.known += 1
        elif state is DispatchState.STARTED:
            done.refuse(NotAdopted.STARTED, place)
            return
        elif state is DispatchState.SENDING:
            done.refuse(NotAdopted.SENDING, place)
            return
        elif state is None:
            adopting.insert(tx, [adopted], now)
            done.foreign_rows += 1
        else:
            adopting.attach(tx, adopted.dispatch_id, adopted)
            done.foreign_settled += 1
        settling.settle_evidence(tx, [_evidence(adopted, start)], now)


def _why_not(start: Start, head: ObjectHead | Unreadable | None) -> NotAdopted | None:
    """Return why a task cannot have started what the object is now; by whole seconds, as both clocks tell."""
    if head is None:
        return NotAdopted.GONE
    if isinstance(head, Unreadable) or head.modified_at is None or start.created_at is None:
        return NotAdopted.UNREADABLE
    return NotAdopted.NEWER if head.modified_at.replace(microsecond=0) > start.created_at else None


def _object(rule: Rule, place: tuple[str, str], head: ObjectHead) -> AdoptedObject:
    bucket, key = place
    return AdoptedObject(rule.id, bucket, key, head.etag, head.size, head.modified_at)


def _adopted(start: Start, dispatch: str, attempt: int, seen: AdoptedObject | None) -> Adopted:
    return Adopted(
        dispatch_id=dispatch,
        attempt=attempt,
        task_id=start.task_id,
        api=start.api,
        endpoint=start.endpoint,
        workflow_id=start.workflow_id,
        created_at=start.created_at,
        object=seen,
    )


def _evidence(adopted: Adopted, start: Start) -> TaskFound:
    return TaskFound(
        adopted.dispatch_id,
        adopted.attempt,
        start.task_id,
        start.status,
        start.created_at,
        start.finished_at,
        start.error,
    )
