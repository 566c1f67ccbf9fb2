"""Looking: the documents that the page shows and the API serves. Nothing here writes.

Each look is one short read transaction that is broken off after a time; what counts much is kept for a while.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dispatcher.config import dump_effective, effective
from dispatcher.core.documents import Json, Record, rfc3339
from dispatcher.core.location import object_url, parse_object
from dispatcher.core.overlaps import Unexamined, find_overlaps
from dispatcher.core.selecting import is_id
from dispatcher.errors import MissingError, UsageError
from dispatcher.ledger import backfills, browse, holds, quarantine, viewing
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.deadlines import within
from dispatcher.ledger.quarantine import Choice
from dispatcher.service.desk.activity import overview_json, source_records
from dispatcher.service.desk.remembering import Remembered
from dispatcher.service.desk.selecting import limit_of, selector_of
from dispatcher.service.documents.backfills import backfill_json
from dispatcher.service.documents.dispatches import detail_json, dispatch_json
from dispatcher.service.documents.explaining import explanation_json
from dispatcher.service.documents.quarantine import quarantined_json
from dispatcher.service.documents.rules import rule_records
from dispatcher.service.documents.status import read_status, status_json
from dispatcher.service.explaining import explain
from dispatcher.service.live import explain_live
from dispatcher.service.waiting import why_not_started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from dispatcher.core.rules import RuleSet
    from dispatcher.core.settings import Settings
    from dispatcher.errors import DispatcherError
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.board import Board
    from dispatcher.service.health import Health

LOOK_WITHIN = 5.0
"""Seconds that one look at the ledger may take."""
PAGE = 50
MOST = 1_000
"""Rows of one answer at most; the next page begins behind them."""
_MOST_OVERLAPS = 200


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and the cursor behind the last one; None at the end."""

    records: tuple[Record, ...]
    after: str | None


@dataclass
class Looking:
    """Shows. Thread-safe. `configured` returns the settings of now.

    `failures` tells what sources and listings fail with now, by name.
    """

    configured: Callable[[], Settings]
    ledger: Ledger
    clock: Callable[[], datetime]
    health: Health
    board: Board
    failures: Callable[[], Mapping[str, DispatcherError]]
    shadow: bool = False
    _overview: Remembered[Record] = field(init=False)
    _status: Remembered[Record] = field(init=False)
    _sources: Remembered[tuple[Record, ...]] = field(init=False)
    _rules: Remembered[tuple[Record, ...]] = field(init=False)
    _backfills: Remembered[tuple[Record, ...]] = field(init=False)
    _failures: Remembered[Record] = field(init=False)
    _overlaps: tuple[RuleSet, dict[str, list[Record]]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._overview = Remembered(self._find_overview)
        self._status = Remembered(self._find_status)
        self._sources = Remembered(self._find_sources)
        self._rules = Remembered(self._find_rules)
        self._backfills = Remembered(self._find_backfills)
        self._failures = Remembered(self._find_failures)

    @property
    def settings(self) -> Settings:
        """The settings of now."""
        return self.configured()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self.ledger.read() as tx, within(tx, LOOK_WITHIN):
            yield tx

    def forget(self) -> None:
        """Look anew: something was changed."""
        for each in (self._overview, self._status, self._sources, self._rules, self._backfills, self._failures):
            each.forget()

    # -- what is kept for a while ----------------------------------------------------------------------

    def overview(self) -> Record:
        """Return how it is going: health, counts of now, of an hour and of a day, and the use of each quota."""
        return self._overview()

    def status(self) -> Record:
        """Return what `status` prints."""
        return self._status()

    def sources(self) -> Sequence[Record]:
        """Return each source with what was last seen of it."""
        return self._sources()

    def rules(self) -> Sequence[Record]:
        """Return what `rules list` prints, each rule with those that start for the same objects."""
        return self._rules()

    def backfills(self) -> Sequence[Record]:
        """Return what `backfill list` prints."""
        return self._backfills()

    def failed(self) -> Record:
        """Return dead dispatches, and tasks that failed within a day, by rule and code."""
        return self._failures()

    # -- what is asked for one by one ---------------------------------------------------------------------

    def dispatches(self, query: Mapping[str, Sequence[str]]) -> Page:
        """Return a page of what `dispatches list` prints. Raises UsageError, LocationError, LedgerSlowError."""
        now = self.clock()
        selector = selector_of(query, self.settings.names, now)
        limit = min(selector.limit or PAGE, MOST)
        wanted = replace(selector, limit=limit + 1)
        with self._reading() as tx:
            found = viewing.newest(tx, wanted, now, after=_cursor(query))
        shown, more = found[:limit], len(found) > limit
        after = f"{rfc3339_exact(shown[-1].first_seen_at)}~{shown[-1].dispatch_id}" if more else None
        return Page(tuple(dispatch_json(each) for each in shown), after)

    def dispatch(self, dispatch_id: str) -> Record:
        """Return what `dispatches show` prints, with why it has not started. Raises MissingError."""
        now = self.clock()
        with self._reading() as tx:
            detail = browse.show(tx, dispatch_id, now) if is_id(dispatch_id) else None
            held = holds.held(tx)
        if detail is None:
            raise MissingError(
                f"the ledger has no dispatch {dispatch_id[:40]}", hint="ids are 26 letters and digits, without dots"
            )
        why = None if detail.view is None else why_not_started(detail.view, held.get(detail.view.rule))
        return {**detail_json(detail), "why": why}

    def explain(self, url: str, *, live: bool) -> Record:
        """Return what `explain` prints, with the dispatches of that key. Raises LocationError."""
        bucket, key = parse_object(url, self.settings.names)
        now = self.clock()
        if live:
            (seen,) = explain_live(self.settings, [(url, bucket, key)], now)
            return explanation_json(seen.explanation, seen)
        with self._reading() as tx:
            rows = viewing.newest(tx, Selector(objects=((bucket, key),), limit=PAGE), now)
        explained = explanation_json(explain(self.settings, url, bucket, key), None)
        return {**explained, "dispatches": [dispatch_json(each) for each in rows]}

    def quarantine(self, query: Mapping[str, Sequence[str]]) -> Page:
        """Return a page of what `quarantine list` prints, the oldest first. Raises UsageError."""
        limit = min(limit_of(query) or PAGE, MOST)
        sources = tuple(each for each in query.get("source", ()) if each)
        after = next((each for each in query.get("after", ()) if each), "0")
        if not (after.isascii() and after.isdigit() and len(after) < 19):  # noqa: PLR2004 - fits 64 bits
            raise UsageError("after: no number of a body", hint="take it from the link to the next page")
        with self._reading() as tx:
            found = quarantine.select_some(tx, Choice(sources=sources, every=True), after=int(after), limit=limit + 1)
        shown = found[:limit]
        records = tuple(_briefly(each.body) | dict(quarantined_json(each, whole=False)) for each in shown)
        return Page(records, str(shown[-1].number) if len(found) > limit else None)

    def quarantined(self, number: int) -> Record:
        """Return what `quarantine show` prints. Raises MissingError."""
        with self._reading() as tx:
            found = quarantine.select_some(tx, Choice(numbers=(number,)))
        if not found:
            raise MissingError(f"there is no body {number} in quarantine", hint="it was dropped, or taken meanwhile")
        return {**quarantined_json(found[0], whole=True), "text": found[0].body.decode("utf-8", "backslashreplace")}

    def config(self) -> Record:
        """Return the configuration as it is understood, every default written out, secrets masked."""
        document: Json = json.loads(json.dumps(effective(self.settings)))
        return {"path": str(self.settings.path), "config": document, "yaml": dump_effective(self.settings)}

    # -- finding --------------------------------------------------------------------------------------------

    def _find_overview(self) -> Record:
        return overview_json(
            self.settings, self.ledger, self.clock(), self.health, self.board, within=LOOK_WITHIN, shadow=self.shadow
        )

    def _find_status(self) -> Record:
        with self._reading() as tx:
            return status_json(read_status(tx, self.clock()))

    def _find_sources(self) -> tuple[Record, ...]:
        with self._reading() as tx:
            return source_records(tx, self.settings, self.board.sources(), self.failures(), self.clock())

    def _find_rules(self) -> tuple[Record, ...]:
        overlaps = self._overlapping()
        with self._reading() as tx:
            records = rule_records(tx, self.settings, self.clock())
        return tuple({**each, "overlaps": overlaps.get(str(each["rule"]), [])} for each in records)

    def _overlapping(self) -> dict[str, list[Record]]:
        """Return, for each rule, the others that some object starts too. Found once for each set of rules."""
        rules = self.settings.rules
        if self._overlaps is None or self._overlaps[0] is not rules:
            found: dict[str, list[Record]] = {}
            for count, each in enumerate(find_overlaps(rules)):
                if isinstance(each, Unexamined) or count == _MOST_OVERLAPS:
                    break
                witness = object_url(each.narrow.input.bucket, each.key)
                for one, other in ((each.wide, each.narrow), (each.narrow, each.wide)):
                    found.setdefault(one.id, []).append({"rule": other.id, "witness": witness})
            self._overlaps = (rules, found)
        return self._overlaps[1]

    def _find_backfills(self) -> tuple[Record, ...]:
        at = self.clock()
        with self._reading() as tx:
            return tuple(
                backfill_json(each, backfills.counts(tx, each.number), at) for each in backfills.everything(tx)
            )

    def _find_failures(self) -> Record:
        with self._reading() as tx:
            dead, tasks = viewing.failures(tx), viewing.failed_tasks(tx, self.clock() - timedelta(days=1))
        return {
            "dead": [
                {
                    "rule": each.rule_id,
                    "code": each.code,
                    "reason": each.reason,
                    "message": each.message,
                    "count": each.count,
                    "first_at": rfc3339(each.first_at),
                    "last_at": rfc3339(each.last_at),
                }
                for each in dead
            ],
            "failed_tasks": [
                {
                    "rule": each.rule_id,
                    "task_status": each.task_status,
                    "task_error": each.error,
                    "count": each.count,
                    "last_at": rfc3339(each.last_at),
                }
                for each in tasks
            ],
        }


def rfc3339_exact(at: datetime) -> str:
    """Return a time with all its digits: a cursor must not round."""
    return at.isoformat().replace("+00:00", "Z")


def _cursor(query: Mapping[str, Sequence[str]]) -> tuple[datetime, str] | None:
    text = next((each for each in query.get("after", ()) if each), None)
    if text is None:
        return None
    at, mark, dispatch_id = text.partition("~")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not mark:
        raise UsageError("after: no place in the list", hint="take it from the link to the next page")
    return moment, dispatch_id


def _briefly(body: bytes) -> dict[str, Json]:
    return {"begins": body[:80].decode("utf-8", "backslashreplace")}
