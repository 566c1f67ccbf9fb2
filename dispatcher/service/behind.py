"""Is this ledger behind the service? Looked at before the first call, for a ledger may be lost, or old.

A ledger that does not know what it started would start it again. So before anything is claimed the service's
newest starts are read; one that carries an id of our form, that is under a rule and that the ledger never had, or
never called, closes the gate: sightings are recorded, nothing is called, and `db adopt` is what helps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from dispatcher.core.calls import TaskQuery
from dispatcher.core.dispatch import attempt_token
from dispatcher.errors import CredentialsError, DispatcherError, LedgerError
from dispatcher.ledger import adopting, notices
from dispatcher.ledger.notices import NoticeCode
from dispatcher.service.logs import get_logger
from dispatcher.service.starts import earliest, pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.belonging import Start
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.starts import ServiceStarts

CLOCK_SLACK = timedelta(minutes=20)
"""How far the service's clock may be from ours, as in sweeps."""
LOOK_AGAIN = timedelta(minutes=1)
"""Between two looks while the ledger is behind."""
MOST_PAGES = 10
"""Pages that are read of one list where nothing says that the ledger is behind: our newest start is among them."""
MOST_WORKFLOWS = 20
"""With more workflows than this they are listed together: a start does not wait for hundreds of lists."""
PATIENCE = 3
"""Looks that failed, after which one who waits for calls to be made should not wait any more."""
HINT = "run `oss-dispatcher db adopt`: it records what was started; until then nothing is called, only recorded"


def needed_since(tx: Connection, now: datetime) -> datetime:
    """Return since when the service may have starts of ours that this ledger does not know."""
    last = notices.last_intent_at(tx)
    return earliest(now) if last is None else max(last - CLOCK_SLACK, earliest(now))


class Gate(Protocol):
    """What the worker asks before it claims."""

    def is_open(self) -> bool:
        """Tell whether anything may be claimed now; it may look at the service to find out. One thread."""
        ...

    def is_shut(self) -> bool:
        """Tell whether it will stay closed for a while, so that nobody need wait. Thread-safe, looks at nothing."""
        ...


@dataclass(frozen=True)
class OpenGate:
    """Nothing is in doubt."""

    def is_open(self) -> bool:
        return True

    def is_shut(self) -> bool:
        return False


ALWAYS_OPEN = OpenGate()


@dataclass
class BehindGate:
    """Closed until it is seen that the ledger knows our newest starts; once open it stays open.

    While a notice says that the ledger is behind, every start is read since it may be, not only the newest:
    an adoption that was interrupted has recorded those first.
    """

    ledger: Ledger
    starts: ServiceStarts
    clock: Callable[[], datetime]
    _open: bool = field(default=False, init=False)
    _behind: bool = field(default=False, init=False)
    _failures: int = field(default=0, init=False)
    _look_at: datetime | None = field(default=None, init=False)

    def is_open(self) -> bool:
        if not self._open:
            now = self.clock()
            if self._look_at is None or now >= self._look_at:
                self._look(now)
        return self._open

    def is_shut(self) -> bool:
        return not self._open and (self._behind or self._failures >= PATIENCE)

    def _look(self, now: datetime) -> None:
        with self.ledger.read() as tx:
            announced = NoticeCode.LEDGER_BEHIND in notices.standing(tx)
            since = needed_since(tx, now)
        try:
            unknown = self._unknown(since, now, everything=announced)
        except LedgerError:
            raise
        except CredentialsError as error:
            self._answered()
            self._tell_denied(error, now, announced=announced)
        except DispatcherError as error:
            # Without the service nothing could be called either.
            self._failures += 1
            self._look_at = now + min(LOOK_AGAIN, timedelta(seconds=2**self._failures))
            with self.ledger.write() as tx:
                notices.post(tx, NoticeCode.NOT_COMPARED, error.message, now)
            get_logger().warning("ledger.not_compared", error=error.message, hint=error.hint)
        else:
            self._answered()
            self._settle(unknown, now, announced=announced)

    def _answered(self) -> None:
        """Take the notice down that a look failed, also one of an earlier process."""
        self._failures = 0
        with self.ledger.write() as tx:
            notices.lift(tx, NoticeCode.NOT_COMPARED)

    def _settle(self, unknown: Start | None, now: datetime, *, announced: bool) -> None:
        if unknown is None:
            if announced:
                with self.ledger.write() as tx:
                    notices.lift(tx, NoticeCode.LEDGER_BEHIND)
            get_logger().info("ledger.caught_up" if announced or self._behind else "ledger.compared")
            self._open, self._behind = True, False
            return
        token = attempt_token(*unknown.token) if unknown.token is not None else ""
        detail = f"task {unknown.task_id} carries {token}, a call that this ledger does not know"
        with self.ledger.write() as tx:
            notices.post(tx, NoticeCode.LEDGER_BEHIND, detail, now)
        if not self._behind:
            get_logger().error(
                "ledger.behind", task_id=unknown.task_id, dispatch=token, workflow=unknown.workflow_id, hint=HINT
            )
        self._behind = True
        self._look_at = now + LOOK_AGAIN

    def _tell_denied(self, error: CredentialsError, now: datetime, *, announced: bool) -> None:
        """Go on without permission to look, unless something else says that the ledger is behind."""
        get_logger().warning("ledger.not_compared", error=error.message, hint=error.hint)
        self._open, self._behind = not announced, announced
        self._look_at = now + LOOK_AGAIN

    # -- what the service has and the ledger has not --------------------------------------------------

    def _unknown(self, since: datetime, now: datetime, *, everything: bool) -> Start | None:
        """Return a start of ours that this ledger does not know, None if there is none. Raises DispatcherError."""
        for listed in self._lists(since, now + CLOCK_SLACK, together=everything):
            for page in listed if everything else islice(listed, MOST_PAGES):
                ours = [start for start in page if start.token is not None and start.of_a_rule]
                unknown = self._first_unknown(ours)
                if unknown is not None:
                    return unknown
                if ours and not everything and _is_newest_first(page):
                    break  # a ledger knows what it started before what it knows
        return None

    def _lists(self, since: datetime, until: datetime, *, together: bool) -> Iterator[Iterator[list[Start]]]:
        """Yield the lists to read, each in pages."""
        for endpoint in self.starts.endpoints():
            workflows = self.starts.workflows(endpoint)
            wanted = [""] if together or len(workflows) > MOST_WORKFLOWS else workflows
            for workflow_id in wanted if workflows else ():
                yield pages(self.starts.tasks_of(TaskQuery(endpoint, workflow_id, since, until)))
            if self.starts.makes_jobs(endpoint):
                yield pages(self.starts.jobs_of(endpoint, since, until))

    def _first_unknown(self, ours: Sequence[Start]) -> Start | None:
        by_token = {start.token: start for start in ours if start.token is not None}
        with self.ledger.read() as tx:
            unknown = adopting.unheard_of(tx, by_token)
        return by_token[unknown[0]] if unknown else None


def _is_newest_first(page: Sequence[Start]) -> bool:
    """Tell whether a page is in falling order of time, as far as times are told."""
    times = [start.created_at for start in page if start.created_at is not None]
    return times == sorted(times, reverse=True)
