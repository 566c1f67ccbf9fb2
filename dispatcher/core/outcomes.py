"""How a call can end (Outcome), and what is then written (Decision). Pure.

There is one retry authority, and it is `decide`: SDK retries are off. The order of care is
"never start twice" before "start soon": whatever cannot be proven not to have started is
Uncertain and goes to the sweep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from dispatcher.core.dispatch import StateReason

BACKOFF_FIRST = timedelta(seconds=5)
BACKOFF_LIMIT = timedelta(hours=1)
KEEP_TRYING_FOR = timedelta(hours=24)
TRIAL_EVERY = timedelta(seconds=30)
UNCERTAIN_STREAK = 5
REJECTED_STREAK = 20
_UNAUTHORIZED = "unauthorized"


# -- how a call can end ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The service answered with a task id."""

    task_id: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """Refused for the account's rate; certainly not started."""

    code: str
    message: str = ""
    request_id: str | None = None
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request certainly did not reach the service, or it said so itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The service refused this request (4xx); repeating it as it is will not help."""

    code: str
    message: str = ""
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """Credentials, permission or arrears: no request of this account will pass now."""

    code: str
    message: str = ""
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Uncertain:
    """The call may have arrived: only the service's own task list can tell."""

    reason: str
    message: str = ""
    request_id: str | None = None


Outcome = Started | Throttled | NotSent | Rejected | Unauthorized | Uncertain


# -- what to write next ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Complete:
    """The dispatch is started."""

    task_id: str


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Call again at this time; the attempt counts."""

    at: datetime
    reason: StateReason


@dataclass(frozen=True, slots=True)
class Snooze:
    """Call again at this time; no attempt is counted, since none reached the service's judgement."""

    at: datetime
    reason: StateReason


@dataclass(frozen=True, slots=True)
class Probe:
    """Unknown: look for our id among the service's tasks, from this time on."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Bury:
    """Never started, and an operator decides."""

    reason: StateReason


Decision = Complete | RetryAt | Snooze | Probe | Bury


def backoff(attempt: int, chance: float) -> timedelta:
    """Return the wait after the attempt-th failure (1-based), with full jitter.

    `chance` is uniform in [0, 1). The ceiling doubles from 5 s to 1 h; at least a tenth of it
    is waited, so that no failure is repeated at once.
    """
    ceiling = min(BACKOFF_LIMIT, BACKOFF_FIRST * (1 << min(max(attempt - 1, 0), 16)))
    return ceiling * max(0.1, chance)


def decide(
    outcome: Outcome,
    *,
    now: datetime,
    failures: int,
    probe_after: timedelta,
    chance: float,
) -> Decision:
    """Return what to write for a call that ended.

    `failures` counts the calls of this dispatch that did not start it, this one included.
    `probe_after` is the configured `uncertain.after`. `chance` is uniform in [0, 1).
    """
    match outcome:
        case Started(task_id=task_id):
            return Complete(task_id)
        case Throttled(retry_after=retry_after):
            wait = max(backoff(failures, chance), retry_after or timedelta())
            return Snooze(now + wait, StateReason.THROTTLED)
        case NotSent() | Unauthorized():
            return Snooze(now + TRIAL_EVERY, StateReason.PAUSED)
        case Rejected():
            return Bury(StateReason.REJECTED)
        case Uncertain():
            return Probe(now + probe_after)
        case _:
            assert_never(outcome)


def decide_absent(*, now: datetime, failures: int, first_attempt_at: datetime, chance: float) -> Decision:
    """Return what to write once an uncertain call is proven not to have started anything.

    Tried again with backoff for at least 24 hours after the first attempt, then buried.
    """
    at = now + backoff(failures, chance)
    if at - first_attempt_at > KEEP_TRYING_FOR:
        return Bury(StateReason.ATTEMPTS)
    return RetryAt(at, StateReason.BACKOFF)


# -- what an outcome says of the target and of the rule ----------------------------------------


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """Whether calls to one (account, region, API) make sense now.

    Paused after NotSent, Unauthorized, or five Uncertain in a row; while paused one trial call
    passes every 30 seconds, and any answer of the service itself ends the pause.
    """

    uncertain_streak: int = 0
    paused_since: datetime | None = None
    pause_reason: str | None = None
    trial_at: datetime | None = None

    def after(self, outcome: Outcome, now: datetime) -> TargetHealth:
        """Return the health after a call ended."""
        match outcome:
            case Started() | Throttled() | Rejected():
                return TargetHealth()
            case NotSent(reason=reason):
                return self._paused(f"not sent: {reason}", now)
            case Unauthorized(code=code):
                return self._paused(f"{_UNAUTHORIZED}: {code}", now)
            case Uncertain(reason=reason):
                streak = self.uncertain_streak + 1
                if streak < UNCERTAIN_STREAK:
                    return replace(self, uncertain_streak=streak)
                return replace(
                    self._paused(f"{streak} unanswered calls in a row: {reason}", now), uncertain_streak=streak
                )
            case _:
                assert_never(outcome)

    @property
    def unauthorized(self) -> bool:
        """True while paused because the service refuses the account."""
        return self.pause_reason is not None and self.pause_reason.startswith(_UNAUTHORIZED)

    def _paused(self, reason: str, now: datetime) -> TargetHealth:
        return TargetHealth(
            uncertain_streak=self.uncertain_streak,
            paused_since=self.paused_since or now,
            pause_reason=reason,
            trial_at=now + TRIAL_EVERY,
        )

    def permits(self, wanted: int, now: datetime) -> int:
        """Return how many calls may go now: all, none, or the one trial of a pause."""
        if self.paused_since is None:
            return wanted
        return min(wanted, 1) if self.trial_at is not None and now >= self.trial_at else 0


@dataclass(frozen=True, slots=True)
class RejectedStreak:
    """Equal refusals of one rule in a row; at `REJECTED_STREAK` the rule is held."""

    code: str | None = None
    count: int = 0

    def after(self, outcome: Outcome) -> RejectedStreak:
        """Return the streak after a call ended. Only an answer about the request itself counts."""
        match outcome:
            case Rejected(code=code):
                return RejectedStreak(code, self.count + 1 if code == self.code else 1)
            case Started():
                return RejectedStreak()
            case Throttled() | NotSent() | Unauthorized() | Uncertain():
                return self
            case _:
                assert_never(outcome)

    @property
    def holds_rule(self) -> bool:
        return self.count >= REJECTED_STREAK
