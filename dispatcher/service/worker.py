"""The back half: due rows out, as calls, each with its intent written before and its outcome after.

One thread runs the loop and does all the writing; a few threads only call. Nothing is queued in
memory: a row is claimed when a call and a permit are free for it, and not before.
"""

from __future__ import annotations

import queue
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dispatcher import crashpoints
from dispatcher.core.calls import Api, api_of
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.observations import Became, Called, Granted, end_of, unmetered
from dispatcher.core.outcomes import Outcome, Registered, Uncertain, decide
from dispatcher.core.rendering import render_call
from dispatcher.core.unsendable import LimitBroken, UserDataTooLong, advice_for, reason_of, sentence_of
from dispatcher.ledger import claiming, counting, rates, repeating, settling
from dispatcher.ledger.evidence import outcome_text
from dispatcher.ledger.failures import LedgerFullError, LedgerLockedError
from dispatcher.ledger.recording import SOURCE_EXISTING
from dispatcher.ledger.settling import Settlement
from dispatcher.service.behind import ALWAYS_OPEN
from dispatcher.service.health import AT_WORK, Health
from dispatcher.service.logs import get_logger
from dispatcher.service.pauses import Pauses
from dispatcher.service.routes import routes, target_key

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from sqlalchemy import Connection

    from dispatcher.core.calls import Call
    from dispatcher.core.observations import Meter
    from dispatcher.core.settings import Settings
    from dispatcher.core.unsendable import Unsendable
    from dispatcher.ledger.claiming import Claim, DueDispatch
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.sending import Incarnation
    from dispatcher.ledger.settling import Settled
    from dispatcher.ports import Target
    from dispatcher.service.behind import Gate
    from dispatcher.service.routes import Route

IDLE = timedelta(seconds=1)
"""Longest wait between two looks at the ledger: other processes write rows too."""
LEDGER_PAUSE = timedelta(seconds=5)
"""Wait after the ledger refused a write that may work again by itself (a full disk)."""
_GOES_WELL = (DispatchState.STARTED, DispatchState.PENDING, DispatchState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that ended and is not written yet."""

    claim: Claim
    outcome: Outcome
    at: datetime


@dataclass(frozen=True, slots=True)
class Unsent:
    """A claim whose call was not made, because we may not send any more, and that is not given back yet."""

    claim: Claim


class Worker:
    """Sends what is due. `run` owns the loop; `step` is one turn of it, for tests."""

    def __init__(  # noqa: PLR0913 - what it works with, by name
        self,
        settings: Settings,
        ledger: Ledger,
        incarnation: Incarnation,
        target: Target,
        *,
        clock: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
        gate: Gate = ALWAYS_OPEN,
        health: Health | None = None,
        meter: Meter = unmetered,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._incarnation = incarnation
        self._target = target
        self._clock = clock
        self._chance = chance
        self._gate = gate
        self._health = health or Health()
        self._meter = meter
        self._tried = gate is ALWAYS_OPEN
        self._routes = routes(settings)
        self._calls = ThreadPoolExecutor(settings.concurrent_calls, thread_name_prefix="call")
        self._ended: queue.SimpleQueue[Ended | Unsent | None] = queue.SimpleQueue()
        self._unwritten: list[Ended] = []
        self._unsent: list[Unsent] = []
        self._in_flight = 0
        self._turn = 0
        self._draining = False
        self._pauses = Pauses()
        self._lease_lost = False

    def wake(self) -> None:
        """Tell the loop that there may be new rows. Thread-safe."""
        self._ended.put(None)

    def idle(self, within: timedelta) -> bool:
        """Tell whether nothing is being sent, and nothing will be due within this time. Thread-safe.

        What waits for a paused target is not due: when it can be sent nobody knows. Nor is anything while the
        ledger is behind the service.
        """
        if self._gate.is_shut():
            return True
        if not self._tried:
            return False  # what is due, also for a paused target, was not tried yet
        now = self._clock()
        with self._ledger.read() as tx:
            if counting.sending(tx):
                return False
            paused = {target for target, health in rates.healths(tx).items() if health.paused_since is not None}
            dues = [self._due_at(tx, route, now) for route in self._routes if route.target not in paused]
        return all(due_at is None or due_at > now + within for due_at in dues)

    # -- the loop --------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Send until `stop`, then let calls in flight end and write how they did.

        Raises LedgerLockedError if the right to send was lost; nothing is called after that.
        """
        while not stop.is_set() and not self._lease_lost:
            self._collect(self._step_or_pause())
        self._draining = True
        while self._in_flight:
            self._step_or_pause()
            if self._in_flight:
                self._collect(IDLE)
        self._calls.shutdown()
        if self._lease_lost:
            raise LedgerLockedError(
                f"the lock file beside the ledger {self._ledger.path} is not ours any more: another process may send",
                hint="leave the file `….sender.lock` alone while a dispatcher runs; start again to go on",
            )

    def step(self) -> timedelta:
        """Write what ended, claim what is due, make the calls; return how long nothing will be due.

        Nothing is claimed before it is seen that the ledger is not behind the service.
        """
        self._settle()
        if not self._gate.is_open():
            return IDLE
        for claim in self._claim():
            self._calls.submit(self._call, claim)
        self._tried = True
        return self._idle_for()

    def _step_or_pause(self) -> timedelta:
        self._health.expect("worker", AT_WORK)
        try:
            return self.step()
        except (LedgerFullError, LedgerLockedError) as error:
            # What ended stays in memory and is written when there is room again: it is evidence.
            get_logger().error("ledger.refused", error=error.message, hint=error.hint)
            return LEDGER_PAUSE

    def _collect(self, wait: timedelta) -> None:
        """Wait for a call to end, a wake-up, or the time; then take all that ended meanwhile."""
        try:
            ended = self._ended.get(timeout=max(0.0, wait.total_seconds()))
            while True:
                match ended:
                    case Ended():
                        self._unwritten.append(ended)
                    case Unsent():
                        self._unsent.append(ended)
                    case None:
                        pass
                ended = self._ended.get_nowait()
        except queue.Empty:
            return

    def _idle_for(self) -> timedelta:
        if self._in_flight >= self._settings.concurrent_calls:
            return IDLE
        now = self._clock()
        with self._ledger.read() as tx:
            return min([IDLE, *(self._route_wait(tx, route, now) for route in self._routes)])

    def _route_wait(self, tx: Connection, route: Route, now: datetime) -> timedelta:
        due_at = self._due_at(tx, route, now)
        return IDLE if due_at is None else max(due_at - now, rates.wait(tx, route.target, route.rate, now))

    def _due_at(self, tx: Connection, route: Route, now: datetime) -> datetime | None:
        """Return when the first call of a route is due, or due again; None if none is."""
        due_at = claiming.next_due_at(tx, route.rules, now, route.stage)
        if route.api is not Api.SUBMIT_MEDIA_PRODUCING_JOB:
            return due_at
        repeat_at = repeating.next_repeat_at(tx, route.rules, route.endpoint, now + self._settings.call_timeout)
        return min((at for at in (due_at, repeat_at) if at is not None), default=None)

    # -- claim ------------------------------------------------------------------------------------

    def _claim(self) -> list[Claim]:
        """Take due rows, at most as many as calls and permits are free; their intent is durable on return."""
        free = self._settings.concurrent_calls - self._in_flight
        if free <= 0 or self._draining or self._lease_lost:
            return []
        now = self._clock()
        with self._ledger.read() as tx:
            busy = [route for route in self._routes if self._route_wait(tx, route, now) <= timedelta()]
        if not busy:
            return []
        # Endpoints take turns in being first, so that a slow one does not keep every free call.
        self._turn += 1
        first = self._turn % len(busy)
        claims: list[Claim] = []
        with self._ledger.write() as tx:
            for route in busy[first:] + busy[:first]:
                claims += self._claim_on(tx, route, free - len(claims), now)
        crashpoints.reach("after_claim")
        self._in_flight += len(claims)
        for claim in claims:
            get_logger().debug("dispatch.sending", dispatch=claim.dispatch.dispatch_id, attempt=claim.attempt)
        return claims

    def _claim_on(self, tx: Connection, route: Route, free: int, now: datetime) -> list[Claim]:
        waiting = self._due(tx, route, free, now)
        healthy = rates.permits(tx, route.target, len(waiting), now)
        granted = rates.take(tx, route.target, route.rate, healthy, now)
        self._meter(Granted(route.endpoint.region, route.api, granted))
        calls = []
        for item in waiting[:granted]:
            rendered = self._render(route, item) if item.repetition is None else item.repetition.call
            if isinstance(rendered, UserDataTooLong | LimitBroken):
                self._bury(tx, item, rendered, now)
            else:
                calls.append((item, item.attempt + 1, rendered))
        return claiming.begin(tx, self._incarnation, calls, now)

    def _due(self, tx: Connection, route: Route, free: int, now: datetime) -> list[DueDispatch]:
        """Return the rows whose call is due; first those whose unanswered call is to be sent again in time."""
        again: list[DueDispatch] = []
        if route.api is Api.SUBMIT_MEDIA_PRODUCING_JOB:
            arrives = now + self._settings.call_timeout
            again = repeating.repeats_due(
                tx, rule_ids=route.rules, endpoint=route.endpoint, now=now, before=arrives, limit=free
            )
        return again + claiming.due(tx, rule_ids=route.rules, now=now, limit=free - len(again), stage=route.stage)

    def _render(self, route: Route, item: DueDispatch) -> Call | Unsendable:
        return render_call(
            self._settings.rules.by_id[item.rule_id],
            route.endpoint,
            bucket=item.bucket,
            key=item.key,
            etag=item.etag,
            size=item.size,
            dispatch_id=item.dispatch_id,
            attempt=item.attempt + 1,
            input_media_id=item.input_media_id,
        )

    def _bury(self, tx: Connection, item: DueDispatch, unsendable: Unsendable, now: datetime) -> None:
        reason, message = reason_of(unsendable), sentence_of(unsendable)
        settling.bury_unsent(tx, item.dispatch_id, reason, message, now)
        get_logger().error(
            "dispatch.dead",
            dispatch=item.dispatch_id,
            rule=item.rule_id,
            bucket=item.bucket,
            key=item.key,
            reason=reason,
            error=message,
            hint=f"{advice_for(unsendable, self._settings.rules.by_id[item.rule_id])},"
            f" then: dispatches retry {item.dispatch_id}",
        )

    # -- call (in its own thread) ------------------------------------------------------------------

    def _call(self, claim: Claim) -> None:
        with self._health.working("call"):
            self._ended.put(self._start(claim) if self._may_send() else Unsent(claim))

    def _may_send(self) -> bool:
        """Tell, right before a call, whether it may be made: the lease of a claim is the sender's lock."""
        if not self._ledger.is_sender():
            self._lease_lost = True
        return not self._draining and not self._lease_lost

    def _start(self, claim: Claim) -> Ended:
        begun = time.monotonic()
        try:
            outcome = self._target.start(claim.call)
        except Exception as error:  # noqa: BLE001 - top of a thread; a defect here must not hide that the call may have arrived
            get_logger().exception("call.defect", dispatch=claim.dispatch.dispatch_id)
            outcome = Uncertain("defect", type(error).__name__)
        crashpoints.reach("after_call")
        self._meter(Called(api_of(claim.call), *end_of(outcome), timedelta(seconds=time.monotonic() - begun)))
        return Ended(claim, outcome, self._clock())

    # -- settle -----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Write how calls ended and what that says of their targets; give back what was not called."""
        if not self._unwritten and not self._unsent:
            return
        now = self._clock()
        settlements = [self._settlement(ended, now) for ended in self._unwritten]
        crashpoints.reach("before_settle")
        with self._ledger.write() as tx:
            settled = settling.settle(tx, self._incarnation, settlements, now)
            healths = {
                target: rates.after_outcome(tx, target, ended.outcome, now)
                for ended in self._unwritten
                for target in [target_key(ended.claim.call.endpoint.region, api_of(ended.claim.call))]
            }
            for unsent in self._unsent:
                claiming.give_back(tx, unsent.claim, now)
        crashpoints.reach("after_settle")
        written, self._unwritten = self._unwritten, []
        given_back, self._unsent = self._unsent, []
        self._in_flight -= len(written) + len(given_back)
        for each, result in zip(written, settled, strict=True):
            _tell(each, result)
            if result.state is not None:
                self._meter(Became(each.claim.dispatch.rule_id, result.state, _age(each, result.state)))
        for target, health in healths.items():
            self._pauses.tell(target, health)
        for each_unsent in given_back:
            get_logger().warning("dispatch.given_back", dispatch=each_unsent.claim.dispatch.dispatch_id)

    def _settlement(self, ended: Ended, now: datetime) -> Settlement:
        item = ended.claim.dispatch
        decision = decide(
            ended.outcome,
            ended.claim.attempted,
            now=now,
            probe_after=self._settings.uncertain.after,
            chance=self._chance(),
        )
        return Settlement(item.dispatch_id, ended.claim.attempt, ended.outcome, decision, ended.at)


def _age(ended: Ended, state: DispatchState) -> timedelta | None:
    """Return how old an object was when its start was answered; None where nobody waited for it."""
    item = ended.claim.dispatch
    if state is not DispatchState.STARTED or item.backfill is not None or item.run or item.source == SOURCE_EXISTING:
        return None
    return ended.at - (item.modified_at or item.first_seen_at)


def _tell(ended: Ended, settled: Settled) -> None:
    """Log what became of a call: one line for the row, and one for each thing an operator must know."""
    item, text = ended.claim.dispatch, outcome_text(ended.outcome)
    log = get_logger().bind(dispatch=item.dispatch_id, rule=item.rule_id, bucket=item.bucket, key=item.key)
    known = {name: value for name, value in asdict(text).items() if value is not None and name != "kind"}
    write = log.info if settled.state in _GOES_WELL else log.warning
    # A registered object waits for its second call: that is news, its state is not.
    became = "registered" if isinstance(ended.outcome, Registered) else settled.state or "unknown"
    write(
        f"dispatch.{became}",
        outcome=text.kind,
        attempt=settled.attempt,
        reason=settled.reason,
        **known,
        **_hint(item.dispatch_id, settled),
    )
    if settled.double_start:
        log.error("dispatch.double_start", task_id=text.task_id, hint="see: oss-dispatcher dispatches show")
    if settled.held_rule is not None:
        log.error(
            "rule.held",
            code=text.code,
            hint=f"mend what the code says, then: rules resume {settled.held_rule}; dispatches retry --state dead",
        )


def _hint(dispatch_id: str, settled: Settled) -> dict[str, str]:
    if settled.state is not DispatchState.DEAD:
        return {}
    return {"hint": f"mend what the code says, then: dispatches retry {dispatch_id}"}
