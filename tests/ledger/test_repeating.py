"""Calls that are not StartWorkflow: repeated under their token, or first of two; and what is kept of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.calls import Api, EditingCall, Endpoint, JobQuery, RegisterCall, Stage, TaskHint, WorkflowCall
from dispatcher.core.dispatch import StateReason
from dispatcher.core.outcomes import (
    REPEAT_FOR,
    Assets,
    Registered,
    Rejected,
    RetryAt,
    Started,
    Throttled,
    Uncertain,
)
from dispatcher.ledger import absence, claiming, following, holds, operating, repeating, sending, settling
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.calls import call_from_text, call_text
from dispatcher.ledger.holds import HoldReason
from tests.ledger.conftest import ENDPOINT

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.core.calls import Call
    from dispatcher.ledger.claiming import Claim, DueDispatch
    from tests.ledger.conftest import Desk

LOST = Uncertain("time-out")
OTHER = Endpoint("cn-hangzhou", "https://ice.elsewhere.example")


def editing(row: DueDispatch) -> EditingCall:
    data = f'{{"DispatchId":"{row.dispatch_id}.{row.attempt + 1}"}}'
    return EditingCall(ENDPOINT, row.dispatch_id, '{"MediaURL":"http://o/k"}', data, timeline='{"é":1}')


def registration(row: DueDispatch) -> RegisterCall:
    return RegisterCall(ENDPOINT, f"oss://b/{row.key}", "0" * 32, "{}")


def begin(desk: Desk, *rows: DueDispatch) -> list[Claim]:
    """Call these rows, a repetition as it was."""
    calls: list[tuple[DueDispatch, int, Call]] = [
        (row, row.attempt + 1, editing(row) if row.repetition is None else row.repetition.call) for row in rows
    ]
    with desk.ledger.write() as tx:
        return claiming.begin(tx, desk.sender, calls, desk.now)


def submitted(desk: Desk, key: str = "k") -> Claim:
    desk.record(key)
    (claim,) = begin(desk, *desk.due())
    return claim


def repeats(desk: Desk, endpoint: Endpoint = ENDPOINT, before: datetime | None = None) -> list[DueDispatch]:
    with desk.ledger.write() as tx:
        return repeating.repeats_due(
            tx, rule_ids=["r"], endpoint=endpoint, now=desk.now, before=before or desk.now, limit=9
        )


def next_repeat_at(desk: Desk) -> datetime | None:
    with desk.ledger.read() as tx:
        return repeating.next_repeat_at(tx, ["r"], ENDPOINT, desk.now)


# -- the text of a call -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "call"),
    [
        (Api.START_WORKFLOW, WorkflowCall(ENDPOINT, "wf", '{"Media":"é"}', "{}", skip_input_verification=True)),
        (Api.REGISTER_MEDIA_INFO, RegisterCall(ENDPOINT, "oss://b/é", "0" * 32, "{}")),
        (Api.SUBMIT_MEDIA_PRODUCING_JOB, EditingCall(ENDPOINT, "id", "{}", "{}", template_id="t", clips_param="{}")),
    ],
)
def test_a_call_can_be_read_back_from_its_text(api: Api, call: Call) -> None:
    assert call_from_text(ENDPOINT, call_text(call), api) == call


def test_an_attempt_of_the_first_version_is_a_workflows(desk: Desk) -> None:
    desk.record("k")
    (claim,) = desk.claim()
    with desk.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE attempts SET api = NULL")
        tx.exec_driver_sql("UPDATE dispatches SET api = NULL")
    (attempt,) = desk.detail(claim.dispatch.dispatch_id).attempts
    assert call_from_text(ENDPOINT, attempt.request, attempt.api) == claim.call
    desk.settle(claim, LOST)
    desk.later(seconds=60)
    with desk.ledger.read() as tx:
        (need,) = following.sweeps_needed(tx, desk.now, follow_since=desk.now)
    assert need.workflow_id == "wf"


# -- repeating ----------------------------------------------------------------------------------------


def test_an_unanswered_job_is_submitted_again_as_it_was_and_stays_uncertain(desk: Desk) -> None:
    first = submitted(desk)
    desk.settle(first, LOST)
    row = desk.view(first.dispatch.dispatch_id)
    assert (row.state, row.next_at, row.attempts) == ("uncertain", desk.now + timedelta(seconds=60), 1)
    assert (repeats(desk), next_repeat_at(desk)) == ([], desk.now + timedelta(seconds=2.5))
    desk.later(seconds=2.5)
    (again,) = begin(desk, *repeats(desk))
    assert (again.call, again.attempt) == (first.call, 2)
    assert desk.view(row.dispatch_id).state == "sending"
    assert repeats(desk) == []
    desk.settle(again, Started("j1", assets=Assets("m", "v", "p")))
    row = desk.view(row.dispatch_id)
    assert (row.state, row.task_id) == ("started", "j1")
    assert (row.api, row.media_id, row.vod_media_id, row.project_id) == ("SubmitMediaProducingJob", "m", "v", "p")
    assert next_repeat_at(desk) is None


def test_the_third_call_is_still_the_first_request(desk: Desk) -> None:
    first = submitted(desk)
    claim = first
    for _ in range(2):
        desk.settle(claim, LOST)
        desk.later(seconds=5)
        (claim,) = begin(desk, *repeats(desk))
    assert (claim.attempt, claim.call) == (3, first.call)


def test_ten_minutes_after_the_first_unanswered_call_it_is_only_looked_for(desk: Desk) -> None:
    claim = submitted(desk)
    begun = desk.now
    calls = 1
    desk.settle(claim, LOST)
    while (at := next_repeat_at(desk)) is not None:
        desk.now = at
        (claim,) = begin(desk, *repeats(desk))
        calls += 1
        desk.settle(claim, LOST)
    assert calls > 3
    assert claim.intent_at < begun + REPEAT_FOR
    row = desk.view(claim.dispatch.dispatch_id)
    assert row.state == "uncertain"
    desk.later(minutes=20)
    assert (repeats(desk), desk.due()) == ([], [])


def test_a_repetition_that_could_arrive_too_late_is_not_sent(desk: Desk) -> None:
    desk.settle(submitted(desk), LOST)
    desk.later(seconds=5)
    assert repeats(desk, before=desk.now + REPEAT_FOR - timedelta(seconds=5)) == []
    assert len(repeats(desk, before=desk.now + REPEAT_FOR - timedelta(seconds=6))) == 1


def test_throttling_of_the_repetition_changes_nothing_about_the_first_call(desk: Desk) -> None:
    claim = submitted(desk)
    desk.settle(claim, LOST)
    desk.later(seconds=5)
    (again,) = begin(desk, *repeats(desk))
    desk.settle(again, Throttled("Throttling.User"))
    row = desk.view(claim.dispatch.dispatch_id)
    assert (row.state, row.attempts) == ("uncertain", 1)
    desk.later(seconds=10)
    (third,) = begin(desk, *repeats(desk))
    assert third.call == claim.call


@pytest.mark.parametrize("refusal", [Rejected("InvalidParameter"), Uncertain("Mismatch", accepted=True)])
def test_a_refused_repetition_is_looked_for_and_not_sent_again(desk: Desk, refusal: Rejected | Uncertain) -> None:
    claim = submitted(desk)
    desk.settle(claim, LOST)
    desk.later(seconds=5)
    (again,) = begin(desk, *repeats(desk))
    desk.settle(again, refusal)
    assert (desk.view(claim.dispatch.dispatch_id).state, next_repeat_at(desk)) == ("uncertain", None)


def test_a_held_rule_and_another_endpoint_repeat_nothing(desk: Desk) -> None:
    desk.settle(submitted(desk), LOST)
    desk.later(seconds=5)
    assert repeats(desk, OTHER) == []
    with desk.ledger.write() as tx:
        holds.hold(tx, "r", HoldReason.OPERATOR, "asked for", desk.now)
    assert repeats(desk) == []
    with desk.ledger.write() as tx:
        holds.resume(tx, "r")
    assert len(repeats(desk)) == 1


def test_newer_content_ends_the_repetition(desk: Desk) -> None:
    claim = submitted(desk)
    desk.settle(claim, LOST)
    desk.later(seconds=5)
    desk.record("k", etag="e2")
    assert (repeats(desk), next_repeat_at(desk)) == ([], None)
    assert desk.view(claim.dispatch.dispatch_id).state == "uncertain"


def test_nobody_skips_or_supersedes_a_call_that_is_being_repeated(desk: Desk) -> None:
    claim = submitted(desk)
    desk.settle(claim, LOST)
    with desk.ledger.write() as tx:
        assert operating.skip(tx, Selector(), desk.now) == 0
    desk.record("k", etag="e2")
    assert desk.view(claim.dispatch.dispatch_id).state == "uncertain"


def test_a_repetition_given_back_is_due_again(desk: Desk) -> None:
    desk.settle(submitted(desk), LOST)
    desk.later(seconds=5)
    (again,) = begin(desk, *repeats(desk))
    with desk.ledger.write() as tx:
        assert claiming.give_back(tx, again, desk.now)
    assert [row.repetition for row in repeats(desk)] == [again.dispatch.repetition]


def test_one_call_is_not_repeated_twice_at_once(desk: Desk) -> None:
    desk.settle(submitted(desk), LOST)
    desk.later(seconds=5)
    (row,) = repeats(desk)
    assert len(begin(desk, row)) == 1
    assert begin(desk, row) == []


def test_absence_makes_a_new_request(desk: Desk) -> None:
    claim = submitted(desk)
    desk.settle(claim, LOST)
    desk.later(minutes=1)
    with desk.ledger.write() as tx:
        (absent,) = absence.note_absence(
            tx, [claim.dispatch.dispatch_id], desk.now, every=timedelta(), sweeps=1, called_until=desk.now
        )
        retry = RetryAt(desk.now, StateReason.BACKOFF)
        assert absence.settle_absent(tx, absent.dispatch_id, retry, desk.now) == ("pending", "BACKOFF")
    assert repeats(desk) == []
    (row,) = desk.due()
    assert row.repetition is None
    (again,) = begin(desk, row)
    assert again.call != claim.call


def test_a_sweep_does_not_tell_of_a_call_made_while_it_went_on(desk: Desk) -> None:
    claim = submitted(desk)
    desk.settle(claim, LOST)
    begun = desk.now
    desk.later(seconds=5)
    desk.settle(begin(desk, *repeats(desk))[0], LOST)
    with desk.ledger.write() as tx:
        ids = [claim.dispatch.dispatch_id]
        assert absence.note_absence(tx, ids, desk.now, every=timedelta(), sweeps=1, called_until=begun) == []
        assert len(absence.note_absence(tx, ids, desk.now, every=timedelta(), sweeps=1, called_until=desk.now)) == 1


# -- a sender that died -----------------------------------------------------------------------------


def test_what_a_dead_sender_submitted_is_submitted_again(desk: Desk) -> None:
    claim = submitted(desk)
    desk.later(minutes=9)
    with desk.ledger.write() as tx:
        assert sending.recover(tx, replace(desk.sender, number=99), desk.now) == 1
    (row,) = repeats(desk)
    assert row.repetition is not None
    assert (row.repetition.call, row.repetition.unanswered_since) == (claim.call, claim.intent_at)
    desk.later(minutes=1)
    assert repeats(desk) == []
    assert desk.view(claim.dispatch.dispatch_id).state == "uncertain"


def test_what_a_dead_sender_registered_just_waits_again(desk: Desk) -> None:
    desk.record("k")
    (row,) = desk.due()
    with desk.ledger.write() as tx:
        claiming.begin(tx, desk.sender, [(row, 1, registration(row))], desk.now)
    with desk.ledger.write() as tx:
        sending.recover(tx, replace(desk.sender, number=99), desk.now)
    assert desk.view(row.dispatch_id).state == "pending"
    assert [each.dispatch_id for each in desk.due()] == [row.dispatch_id]


# -- the first of two calls ----------------------------------------------------------------------------


def stages(desk: Desk, stage: Stage) -> list[str]:
    with desk.ledger.read() as tx:
        return [row.key for row in claiming.due(tx, rule_ids=["r"], now=desk.now, limit=5, stage=stage)]


def register(desk: Desk, *keys: str) -> list[Claim]:
    with desk.ledger.write() as tx:
        rows = claiming.due(tx, rule_ids=["r"], now=desk.now, limit=1_000, stage=Stage.REGISTER)
        calls = [(row, row.attempt + 1, registration(row)) for row in rows if row.key in keys]
        return claiming.begin(tx, desk.sender, calls, desk.now)


def test_a_registered_object_is_due_for_its_start_and_keeps_its_place(desk: Desk) -> None:
    desk.record("a", "b")
    due_at = desk.now
    desk.later(seconds=30)
    (claim,) = register(desk, "a")
    assert stages(desk, Stage.START) == []
    desk.settle(claim, Registered("m1", "q"))
    row = desk.view(claim.dispatch.dispatch_id)
    assert (row.state, row.next_at, row.attempts, row.input_media_id) == ("pending", due_at, 0, "m1")
    assert (stages(desk, Stage.START), stages(desk, Stage.REGISTER)) == (["a"], ["b"])
    with desk.ledger.read() as tx:
        assert claiming.next_due_at(tx, ["r"], desk.now, Stage.START) == due_at
    (outcome,) = desk.detail(row.dispatch_id).outcomes
    assert (outcome.kind, outcome.message, outcome.request_id) == ("registered", "media asset m1", "q")


def test_a_registration_is_counted_once_in_the_budget(desk: Desk) -> None:
    desk.record("a")
    (claim,) = register(desk, "a")
    desk.settle(claim, Registered("m1"))
    (row,) = desk.due()
    assert row.lane is not claim.dispatch.lane
    assert row.input_media_id == "m1"


def test_unanswered_registrations_are_repeated_for_a_day(desk: Desk) -> None:
    desk.record("a")
    begun, view = desk.now, desk.view(desk.due()[0].dispatch_id)
    while (claims := register(desk, "a")) and desk.now - begun < timedelta(days=2):
        desk.settle(claims[0], LOST)
        view = desk.view(claims[0].dispatch.dispatch_id)
        if view.next_at is not None:
            desk.now = view.next_at + timedelta(minutes=30)
    assert (view.state, view.reason) == ("dead", "ATTEMPTS")
    assert timedelta(hours=23) < desk.now - begun < timedelta(hours=26)


def test_an_operators_retry_registers_again(desk: Desk) -> None:
    """The asset may be gone: nothing else would ever find that out."""
    desk.record("a")
    (claim,) = register(desk, "a")
    desk.settle(claim, Registered("m1"))
    (row,) = desk.due()
    (start,) = begin(desk, row)
    desk.settle(start, Rejected("MediaNotFound"))
    assert desk.view(row.dispatch_id).state == "dead"
    with desk.ledger.write() as tx:
        assert operating.retry(tx, Selector(), desk.now) == 1
    assert (stages(desk, Stage.REGISTER), stages(desk, Stage.START)) == (["a"], [])


def test_a_late_registration_is_kept(desk: Desk) -> None:
    desk.record("a")
    (claim,) = register(desk, "a")
    with desk.ledger.write() as tx:
        sending.recover(tx, replace(desk.sender, number=99), desk.now)
    done = desk.settle(claim, Registered("m1"))
    assert not done.written
    assert (desk.view(claim.dispatch.dispatch_id).input_media_id, stages(desk, Stage.START)) == ("m1", ["a"])


def test_objects_are_registered_so_far_ahead_of_their_starts_and_no_farther(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "AHEAD", 3)
    desk.record(*"abcde")
    for claim in register(desk, *"abc"):
        desk.settle(claim, Registered("m"))
    assert stages(desk, Stage.REGISTER) == []
    with desk.ledger.read() as tx:
        first = claiming.due(tx, rule_ids=["r"], now=desk.now, limit=2, stage=Stage.START)
    for row in first:
        (started,) = begin(desk, row)
        desk.settle(started, Started(f"t-{row.key}"))
    assert stages(desk, Stage.REGISTER) == ["d", "e"]


# -- sweeps of jobs -----------------------------------------------------------------------------------


def test_jobs_are_swept_apart_from_workflows(desk: Desk) -> None:
    submitted_one = submitted(desk)
    desk.settle(submitted_one, LOST)
    desk.record("w")
    (started,) = [claim for claim in desk.claim() if claim.dispatch.key == "w"]
    desk.settle(started, Started("t1"))
    desk.later(minutes=1)
    with desk.ledger.write() as tx:
        needs = following.sweeps_needed(tx, desk.now, follow_since=desk.now - timedelta(hours=1))
        jobs, tasks = sorted(needs, key=lambda need: need.workflow_id is not None)
        assert [(need.workflow_id, need.uncertain, need.following) for need in (jobs, tasks)] == [
            (None, 1, 0),
            ("wf", 0, 1),
        ]
        query = jobs.query(jobs.earliest_intent_at, desk.now)
        assert query == JobQuery(ENDPOINT, submitted_one.intent_at, desk.now)
        assert following.expected(tx, query, desk.now, called_until=desk.now) == [submitted_one.dispatch.dispatch_id]
        assert (
            following.expected(tx, tasks.query(jobs.earliest_intent_at, desk.now), desk.now, called_until=desk.now)
            == []
        )
        following.record_sweep(tx, query, complete=True, now=desk.now)
        assert (following.last_sweep_at(tx, jobs), following.last_sweep_at(tx, tasks)) == (desk.now, None)


def test_a_failed_job_keeps_what_it_said(desk: Desk) -> None:
    claim = submitted(desk)
    desk.settle(claim, Started("j1"))
    found = settling.TaskFound(
        claim.dispatch.dispatch_id, 1, "j1", "Failed", desk.now, error="BadClip: no", assets=Assets("m1")
    )
    with desk.ledger.write() as tx:
        told = settling.settle_evidence(tx, [found], desk.now)
        assert following.outputs_to_check(tx) == []
    row = desk.view(claim.dispatch.dispatch_id)
    assert (told.finished, row.task_status, row.task_error, row.media_id) == ((found,), "Failed", "BadClip: no", "m1")


def test_the_first_job_that_succeeded_is_read_for_its_output(desk: Desk) -> None:
    claim = submitted(desk)
    desk.settle(claim, Started("j1"))
    with desk.ledger.write() as tx:
        found = settling.TaskFound(claim.dispatch.dispatch_id, 1, "j1", "Success", desk.now)
        settling.settle_evidence(tx, [found], desk.now)
        (check,) = following.outputs_to_check(tx)
    assert (check.task_id, check.api) == ("j1", Api.SUBMIT_MEDIA_PRODUCING_JOB)


# -- hints -----------------------------------------------------------------------------------------------


def test_a_hint_is_worth_a_look_where_something_can_come_of_it(desk: Desk) -> None:
    job = submitted(desk, "job")
    desk.settle(job, LOST)
    desk.record("w")
    (task,) = [claim for claim in desk.claim() if claim.dispatch.key == "w"]
    desk.settle(task, Started("t1"))
    workflow, editing_api = Api.START_WORKFLOW, Api.SUBMIT_MEDIA_PRODUCING_JOB
    lost = job.dispatch.dispatch_id
    for hint, places in {
        TaskHint(workflow, "t1"): [ENDPOINT],
        TaskHint(workflow, "t2"): [],
        TaskHint(editing_api, "j9"): [ENDPOINT],
        TaskHint(editing_api, "j9", (lost, 1)): [ENDPOINT],
        TaskHint(editing_api, "j9", ("a" * 26, 1)): [],
    }.items():
        with desk.ledger.read() as tx:
            assert following.worth_asking(tx, hint) == places, hint
    desk.find(task.dispatch.dispatch_id, "t1", "Succeed")
    with desk.ledger.read() as tx:
        assert following.worth_asking(tx, TaskHint(workflow, "t1")) == []
