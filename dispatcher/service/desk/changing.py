"""Changing: what an operator does through the page, by the functions that the commands call.

Bulk changes are made in batches, each in a transaction of its own, and for a bounded time: whoever has more
to change asks again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dispatcher.core.backfilling import BackfillKind, Pace
from dispatcher.core.decoding import Format
from dispatcher.errors import MissingError, UsageError
from dispatcher.ledger import backfills, budgeting, holds, operating, quarantine
from dispatcher.ledger.deadlines import within
from dispatcher.ledger.holds import HoldReason
from dispatcher.ledger.quarantine import Choice
from dispatcher.ledger.writing import BATCH
from dispatcher.service import rerunning
from dispatcher.service.backfilling import requesting
from dispatcher.service.desk.looking import LOOK_WITHIN
from dispatcher.service.desk.selecting import selector_of, selects
from dispatcher.service.replaying import replay
from dispatcher.service.takeover import open_rerunning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from dispatcher.core.documents import Record
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.backfills import Backfill
    from dispatcher.ledger.browse import Selector
    from dispatcher.ledger.engine import Ledger

CHANGE_WITHIN = 20.0
"""Seconds that one request may go on changing rows."""
MOST_RERUNS = 1_000
"""Dispatches of one rerun through the page: each object is looked at in its store first."""
_DETAIL = 200


class Verb(StrEnum):
    """What may be done to selected dispatches."""

    RETRY = "retry"
    SKIP = "skip"
    PROBE = "probe"
    RERUN = "rerun"


@dataclass(frozen=True)
class Changing:
    """Changes. Thread-safe. `configured` returns the settings of now.

    `changed` is called after each change: who looks shall see it, who sends shall know.
    """

    configured: Callable[[], Settings]
    ledger: Ledger
    clock: Callable[[], datetime]
    changed: Callable[[], None]

    @property
    def settings(self) -> Settings:
        """The settings of now."""
        return self.configured()

    # -- dispatches -----------------------------------------------------------------------------------------

    def count(self, verb: str, query: Mapping[str, Sequence[str]]) -> int:
        """Return how many selected dispatches a verb would change. Raises UsageError where nothing is selected."""
        chosen, selector = self._selected(verb, query)
        with self.ledger.read() as tx, within(tx, LOOK_WITHIN):
            if chosen is Verb.RERUN:
                return rerunning.selected(tx, selector).rows
            return operating.countable(tx, selector, _allowed(chosen))

    def change(self, verb: str, query: Mapping[str, Sequence[str]], again: str = "") -> Record:
        """Do it; return what `dispatches retry` and its siblings print. Idempotent. Raises DispatcherError."""
        count = self.count(verb, query)
        chosen, selector = self._selected(verb, query)
        if chosen is Verb.RERUN:
            return self._rerun(selector, count, again)
        total = self._in_batches(chosen, selector) if count else 0
        self.changed()
        return {"verb": chosen.value, "selected": count, "changed": total}

    def _selected(self, verb: str, query: Mapping[str, Sequence[str]]) -> tuple[Verb, Selector]:
        if verb not in set(Verb):
            raise MissingError(f"dispatches {verb[:40]}: no such verb", hint=f"there are {', '.join(Verb)}")
        if not selects(query):
            raise UsageError(
                f"{verb}: which dispatches? nothing is selected",
                hint="name ids or URLs, or select by rule, state, code, key, since ...",
            )
        return Verb(verb), selector_of(query, self.settings.names, self.clock())

    def _in_batches(self, verb: Verb, selector: Selector) -> int:
        change = {Verb.RETRY: operating.retry, Verb.SKIP: operating.skip, Verb.PROBE: operating.probe}[verb]
        total, at, deadline = 0, self.clock(), time.monotonic() + CHANGE_WITHIN
        while time.monotonic() < deadline and (selector.limit is None or total < selector.limit):
            most = BATCH if selector.limit is None else min(BATCH, selector.limit - total)
            with self.ledger.write() as tx:
                changed = change(tx, selector, at, limit=most)
            if changed == 0:
                break
            total += changed
        return total

    def _rerun(self, selector: Selector, count: int, again: str) -> Record:
        rerunning.check_name(again)
        if count > MOST_RERUNS:
            raise UsageError(
                f"rerun: {count} dispatches are selected, and each object is looked at first",
                hint=f"select at most {MOST_RERUNS}, or use the command: oss-dispatcher dispatches rerun",
            )
        with open_rerunning(self.settings, self.ledger) as running:
            done = running.rerun(selector, again)
        self.changed()
        return rerunning.rerun_json(done, again)

    # -- rules ----------------------------------------------------------------------------------------------

    def pause(self, rule: str | None, detail: str) -> Record:
        """Hold a rule, or all of them (None); return which were not held before. Idempotent."""
        wanted = list(self.settings.rules.by_id) if rule is None else [self._rule(rule)]
        said = detail.strip()[:_DETAIL] or "paused by an operator"
        with self.ledger.write() as tx:
            news = [each for each in wanted if holds.hold(tx, each, HoldReason.OPERATOR, said, self.clock())]
        self.changed()
        return {"verb": "pause", "rules": wanted, "changed": news}

    def resume(self, rule: str | None) -> Record:
        """End the hold of a rule, whatever its reason; of all rules (None) those of operators. Idempotent."""
        with self.ledger.write() as tx:
            held = holds.held(tx)
            if rule is None:
                wanted = [each.rule_id for each in held.values() if each.reason is HoldReason.OPERATOR]
            else:
                wanted = [rule if rule in held else self._rule(rule)]
            ended = [each for each in wanted if holds.resume(tx, each)]
        self.changed()
        return {"verb": "resume", "rules": wanted, "changed": ended}

    def release(self, rule: str, count: int | None) -> Record:
        """Let rows that wait for the day's budget go (None: all that wait now); return how many more may start."""
        with self.ledger.write() as tx:
            released = budgeting.release_budget(tx, self._rule(rule), self.clock(), count)
        self.changed()
        return {"rule": rule, "released": released}

    def _rule(self, rule: str) -> str:
        if rule not in self.settings.rules.by_id:
            raise MissingError(f"there is no rule {rule[:80]}", hint="the rules and their ids are on the page Rules")
        return rule

    # -- quarantine -----------------------------------------------------------------------------------------

    def retry_quarantined(self, query: Mapping[str, Sequence[str]]) -> Record:
        """Decode chosen bodies again and take what is understood (`number`, `source`, `all`, `format`). Idempotent."""
        choice = _choice("retry", query)
        forms = [each for each in query.get("format", ()) if each]
        if forms and forms[0] not in set(Format):
            raise UsageError(f"format={forms[0][:40]}: no format", hint=f"there are {', '.join(Format)}")
        count = self._quarantined(choice)
        done = replay(self.settings, self.ledger, choice, Format(forms[0]) if forms else None, self.clock)
        self.changed()
        return {"verb": "retry", "selected": count, "changed": done.understood, "left": done.left}

    def drop_quarantined(self, query: Mapping[str, Sequence[str]]) -> Record:
        """Forget chosen bodies for good. Idempotent."""
        choice = _choice("drop", query)
        count = self._quarantined(choice)
        with self.ledger.write() as tx:
            dropped = quarantine.drop(tx, choice)
        self.changed()
        return {"verb": "drop", "selected": count, "changed": dropped}

    def _quarantined(self, choice: Choice) -> int:
        with self.ledger.read() as tx, within(tx, LOOK_WITHIN):
            return quarantine.count(tx, choice)

    # -- backfills --------------------------------------------------------------------------------------------

    def backfill(self, number: int, verb: str) -> Record:
        """Pause, resume or cancel a backfill; return what the commands print. Idempotent. Raises UsageError.

        One whose objects are not all recorded is resumed by its command, which goes on with recording.
        """
        at = self.clock()
        found = self._backfill(number)
        match verb:
            case "pause":
                done = self._write(lambda tx: backfills.pause(tx, number, at))
            case "resume":
                done = self._resume(found, at)
            case "cancel":
                done = self._write(lambda tx: backfills.cancel(tx, number, at))
                while self._write(lambda tx: backfills.skip_cancelled(tx, at)):
                    pass
            case _:
                raise MissingError(f"backfill {verb[:40]}: no such verb", hint="there are pause, resume and cancel")
        self.changed()
        return {"backfill": number, "name": found.name, "changed": bool(done)}

    def _resume(self, found: Backfill, at: datetime) -> bool:
        if found.recorded_at is None and found.kind is not BackfillKind.RERUN and not found.state.ended:
            raise UsageError(
                f"backfill {found.number} ({found.name}) has not recorded all that it covers",
                hint=f"its command goes on with that: oss-dispatcher backfill resume {found.number}",
            )
        self._write(lambda tx: requesting.go_on(tx, found, Pace(), None, at))
        return True

    def _backfill(self, number: int) -> Backfill:
        with self.ledger.read() as tx:
            found = [each for each in backfills.find(tx, str(number)) if each.number == number]
        if not found:
            raise MissingError(f"there is no backfill {number}", hint="their numbers are on the page Backfills")
        return found[0]

    def _write(self, change: Callable[[Connection], object]) -> object:
        with self.ledger.write() as tx:
            return change(tx)


def _allowed(verb: Verb) -> ColumnElement[bool]:
    match verb:
        case Verb.RETRY:
            return operating.may_retry()
        case Verb.SKIP:
            return operating.may_skip()
        case _:
            return operating.may_probe()


def _choice(verb: str, query: Mapping[str, Sequence[str]]) -> Choice:
    texts = [each for each in query.get("number", ()) if each]
    wrong = [each for each in texts if not (each.isascii() and each.isdigit() and len(each) < 19)]  # noqa: PLR2004 - fits 64 bits
    if wrong:
        raise UsageError(f"number={wrong[0][:40]}: not a number", hint="numbers are on the page Quarantine")
    sources = tuple(each for each in query.get("source", ()) if each)
    every = any(each in {"1", "true", "yes", "on"} for each in query.get("all", ()))
    if not (texts or sources or every):
        raise UsageError(
            f"quarantine {verb}: which bodies? nothing is selected", hint="name numbers, or select by source or all"
        )
    return Choice(tuple(int(each) for each in texts), sources, every)
