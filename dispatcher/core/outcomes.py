"""How a call can end (Outcome), and what is then written (Decision). Pure.

There is one retry authority, and it is `decide`: SDK retries are off. The order of care is
"never start twice" before "start soon": whatever cannot be proven not to have started is
Uncertain and goes to the sweep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from dispatcher.core.calls import Api
from dispatcher.core.dispatch import StateReason

BACKOFF_FIRST = timedelta(seconds=5)
BACKOFF_LIMIT = timedelta(hours=1)
KEEP_TRYING_FOR = timedelta(hours=24)
TRIAL_EVERY = timedelta(seconds=30)
REPEAT_FOR = timedelta(minutes=10)
"""How long after an unanswered call the same request is sent again where the API takes a client token."""
UNCERTAIN_STREAK = 5
REJECTED_STREAK = 20
_UNAUTHORIZED = "unauthorized"


# -- how a call can end ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assets:
    """What a producing job makes, as far as the service tells: ids of a media asset, in VOD, of a project."""

    media_id: str | None = None
    vod_media_id: str | None = None
    project_id: str | None = None


NO_ASSETS = Assets()


@dataclass(frozen=True, slots=True)
class Started:
    """The service answered with a task id (of a producing job: its job id)."""

    task_id: str
    request_id: str | None = None
    assets: Assets = NO_ASSETS


@dataclass(frozen=True, slots=True)
class Registered:
    """The object is a media asset, now or already: the dispatch's next call can name it."""

    media_id: str
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
    """The call may have arrived: only the service's own task list can tell.

    `accepted`: the service says that it took a call under our client token. Which task that became it does
    not say, and the same request again would be told the same.
    """

    reason: str
    message: str = ""
    request_id: str | None = None
    accepted: bool = False


Outcome = Started | Registered | Throttled | NotSent | Rejected | Unauthorized | Uncertain


# -- what to write next ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Complete:
    """The dispatch is started."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Advance:
    """The object is registered: the dispatch's next call is due at `at`, as this one was; no attempt is counted."""

    media_id: str
    at: datetime


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
class Repeat:
    """Unknown, and the service knows our client token: send the very same request again at `at`, not after `until`.

    From `probe_at` on it is looked for as well, as after Probe.
    """

    at: datetime
    until: datetime
    probe_at: datetime


@dataclass(frozen=True, slots=True)
class Bury:
    """Never started, and an operator decides."""

    reason: StateReason


Decision = Complete | Advance | RetryAt | Snooze | Probe | Repeat | Bury


def backoff(attempt: int, chance: float) -> timedelta:
    """Return the wait after the attempt-th failure (1-based), with full jitter.

    `chance` is uniform in [0, 1). The ceiling doubles from 5 s to 1 h; at least a tenth of it
    is waited, so that no failure is repeated at once.
    """
    ceiling = min(BACKOFF_LIMIT, BACKOFF_FIRST * (1 << min(max(attempt - 1, 0), 16)))
    return ceiling * max(0.1, chance)


@dataclass(frozen=True, slots=True)
class Attempted:
    """What `decide` knows of the call that ended, and of those of its dispatch before it.

    `failures` counts the calls of this dispatch that did not start it, this one included. `due_at` is
    when the call was due. `unanswered_since`: the intent of the first call of a row of unanswered ones that
    this one repeats, None where the call repeats none.
    """

    api: Api
    failures: int
    intent_at: datetime
    due_at: datetime
    first_attempt_at: datetime
    unanswered_since: datetime | None = None


def decide(outcome: Outcome, attempted: Attempted, *, now: datetime, probe_after: timedelta, chance: float) -> Decision:
    """Return what to write for a call that ended.

    `probe_after` is the configured `uncertain.after`. `chance` is uniform in [0, 1).
    """
    wait = backoff(attempted.failures, chance)
    match outcome:
        case Started(task_id=task_id):
            return Complete(task_id)
        case Registered(media_id=media_id):
            return Advance(media_id, attempted.due_at)
        case Throttled(retry_after=retry_after):
            snooze = Snooze(now + max(wait, retry_after or timedelta()), StateReason.THROTTLED)
            return _snoozed(snooze, attempted, now + probe_after)
        case NotSent() | Unauthorized():
            return _snoozed(Snooze(now + TRIAL_EVERY, StateReason.PAUSED), attempted, now + probe_after)
        case Rejected():
            # A refusal of the repetition says nothing of the call that it repeats.
            return Bury(StateReason.REJECTED) if attempted.unanswered_since is None else Probe(now + probe_after)
        case Uncertain(accepted=accepted):
            return Probe(now + probe_after) if accepted else _unanswered(attempted, now, probe_after, chance)
        case _:
            assert_never(outcome)


def _snoozed(snooze: Snooze, attempted: Attempted, probe_at: datetime) -> Decision:
    """Return what follows where nothing reached the service's judgement, now; a call before this one may have."""
    if attempted.unanswered_since is None:
        return snooze
    return _repeat(snooze.at, attempted.unanswered_since, probe_at)


def _unanswered(attempted: Attempted, now: datetime, probe_after: timedelta, chance: float) -> Decision:
    """Return what follows from no answer: by what the API promises of a request that comes twice."""
    if attempted.api is Api.REGISTER_MEDIA_INFO:
        # Registering twice is registering once: there is nothing to look for.
        return decide_absent(
            now=now, failures=attempted.failures, first_attempt_at=attempted.first_attempt_at, chance=chance
        )
    probe_at = now + probe_after
    if attempted.api is not Api.SUBMIT_MEDIA_PRODUCING_JOB:
        return Probe(probe_at)
    since = attempted.unanswered_since or attempted.intent_at
    return _repeat(now + backoff(attempted.failures, chance), since, probe_at)


def _repeat(at: datetime, unanswered_since: datetime, probe_at: datetime) -> Decision:
    until = unanswered_since + REPEAT_FOR
    return Repeat(at, until, probe_at) if at < until else Probe(probe_at)


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
            case Started() | Registered() | Throttled() | Rejected() | Uncertain(accepted=True):
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
            case Registered() | Throttled() | NotSent() | Unauthorized() | Uncertain():
                return self
            case _:
                assert_never(outcome)

    @property
    def holds_rule(self) -> bool:
        return self.count >= REJECTED_STREAK
