"""Any history of one editing job: never two jobs of one dispatch, and what the ledger says is what the service has.

The service remembers a token for ten minutes. The same request again is told the same job, another one is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.core.calls import EditingCall
from dispatcher.core.dispatch import StateReason
from dispatcher.core.outcomes import REPEAT_FOR, Outcome, RetryAt, Started, Throttled, Uncertain
from dispatcher.ledger import absence, claiming, repeating, sending
from tests.ledger.conftest import ENDPOINT, Desk

if TYPE_CHECKING:
    from dispatcher.ledger.claiming import Claim

TIME_OUT = timedelta(seconds=10)
EXAMPLES = count()
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "lost after", "lost before", "throttled", "killed before", "killed after"]),
        st.sampled_from([3, 60, 280, 700]),
        st.sampled_from(["", "", "", "sweep", "absence"]),
    ),
    min_size=2,
    max_size=12,
)


@dataclass
class Service:
    """The jobs of one dispatch; the token is forgotten ten minutes after the call that made a job arrived."""

    jobs: list[str] = field(default_factory=list)
    taken: tuple[object, datetime] | None = None

    def submit(self, claim: Claim, now: datetime) -> str | None:
        """Return the job of a call that arrives; None if its token was used for another request."""
        if self.taken is not None and now < self.taken[1] + REPEAT_FOR:
            return self.jobs[-1] if claim.call == self.taken[0] else None
        self.jobs.append(f"{claim.dispatch.dispatch_id}-{len(self.jobs)}")
        self.taken = (claim.call, now)
        return self.jobs[-1]


def claim_next(desk: Desk, dispatch: str) -> Claim | None:
    """Begin the next call of a dispatch, if one is due: the first request again, or a new one."""
    with desk.ledger.write() as tx:
        rows = repeating.repeats_due(
            tx, rule_ids=["r"], endpoint=ENDPOINT, now=desk.now, before=desk.now + TIME_OUT, limit=1_000
        )
        rows += claiming.due(tx, rule_ids=["r"], now=desk.now, limit=1_000)
        calls = [
            (
                row,
                row.attempt + 1,
                EditingCall(ENDPOINT, dispatch, "{}", f'"{row.attempt + 1}"')
                if row.repetition is None
                else row.repetition.call,
            )
            for row in rows
            if row.dispatch_id == dispatch
        ]
        return next(iter(claiming.begin(tx, desk.sender, calls, desk.now)), None)


def end_call(desk: Desk, service: Service, claim: Claim, end: str) -> None:
    job = service.submit(claim, desk.now) if end in {"answered", "lost after", "killed after"} else None
    if end.startswith("killed"):
        with desk.ledger.write() as tx:
            desk.sender = sending.begin_incarnation(tx, desk.now, 1)
            sending.recover(tx, desk.sender, desk.now)
        return
    outcome: Outcome = Uncertain("time-out")
    if end == "throttled":
        outcome = Throttled("Throttling.User")
    elif end == "answered":
        outcome = Started(job) if job else Uncertain("IdempotentParameterMismatch", accepted=True)
    desk.settle(claim, outcome)


def look(desk: Desk, service: Service, dispatch: str, kind: str) -> None:
    """Let a sweep tell what the service has, or prove that it has nothing."""
    if kind == "sweep" and service.jobs:
        desk.find(dispatch, service.jobs[0])
    if kind == "absence" and not service.jobs:
        with desk.ledger.write() as tx:
            absence.settle_absent(tx, dispatch, RetryAt(desk.now, StateReason.BACKOFF), desk.now)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_history_makes_two_jobs_of_one_dispatch(desk: Desk, steps: list[tuple[str, int, str]]) -> None:
    (dispatch,) = desk.record(f"in/{next(EXAMPLES)}.mp4")
    service = Service()
    for end, seconds, kind in steps:
        claim = claim_next(desk, dispatch)
        if claim is not None:
            assert desk.view(dispatch).state == "sending"
            desk.later(seconds=1)
            end_call(desk, service, claim, end)
        desk.later(seconds=seconds)
        look(desk, service, dispatch, kind)
    assert len(service.jobs) <= 1, service.jobs
    view = desk.view(dispatch)
    if view.state == "started":
        assert [view.task_id] == service.jobs
    assert view.state in {"started", "uncertain", "pending"}
    if service.jobs:
        assert view.state != "pending", "it would be made again"


def test_the_service_of_this_model_does_make_two_jobs_of_late_repetitions(desk: Desk) -> None:
    """The model can fail: after ten minutes the same request is a new job."""
    (dispatch,) = desk.record("late")
    claim = claim_next(desk, dispatch)
    assert claim is not None
    service = Service()
    service.submit(claim, desk.now)
    service.submit(claim, desk.now + REPEAT_FOR)
    assert len(service.jobs) == 2
