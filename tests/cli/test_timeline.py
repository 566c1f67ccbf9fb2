"""The time line: every step of a dispatch, of each kind of call, for people and for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dispatcher.core.calls import Api, Call, EditingCall, Endpoint, RegisterCall, WorkflowCall, api_of
from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.ledger.browse import AttemptView, DispatchDetail, DispatchView, LastError, OutcomeView
from dispatcher.ledger.calls import call_text
from dispatcher.service.documents.dispatches import detail_json
from dispatcher.service.documents.timeline import moments, timeline

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
ENDPOINT = Endpoint("cn-hangzhou", "https://ice.example")
ID = "a" * 26
JOB = EditingCall(ENDPOINT, ID, '{"MediaURL":"oss://o/k"}', "{}", timeline="{}")


def at(minute: float) -> datetime:
    return NOW + timedelta(minutes=minute)


def sent(number: int, call: Call) -> AttemptView:
    return AttemptView(number, 1, at(number), ENDPOINT.region, ENDPOINT.url, call_text(call), api_of(call))


def ended(number: int, kind: str, **told: Any) -> OutcomeView:
    facts = {"code": None, "message": None, "request_id": None, "task_id": None, "evidence": "call"} | told
    return OutcomeView(attempt=number, kind=kind, ended_at=at(number + 0.5), recorded_at=at(number + 0.5), **facts)


def detail(attempts: list[AttemptView], outcomes: list[OutcomeView], **changes: Any) -> DispatchDetail:
    facts: dict[str, Any] = {
        "dispatch_id": ID,
        "rule": "r",
        "bucket": "b",
        "key": "in/a.mp4",
        "etag": "e1",
        "size": 7,
        "run": "",
        "state": DispatchState.STARTED,
        "reason": None,
        "source": "poll:b/in/",
        "first_seen_at": NOW,
        "updated_at": at(30),
        **dict.fromkeys(("next_at", "workflow", "task_id", "task_status", "task_error", "request_id", "last_error")),
        **dict.fromkeys(("started_at", "task_finished_at")),
        "attempts": 0,
    } | changes
    view = DispatchView(**facts)
    return DispatchDetail(ID, view.state, view.task_id, view, tuple(attempts), tuple(outcomes), ("j2",))


def test_an_editing_job_from_its_sighting_to_its_end() -> None:
    story = detail(
        [sent(1, JOB), sent(2, JOB)],
        [
            ended(1, "uncertain", message="no answer in time"),
            ended(2, "started", task_id="j1", request_id="REQ-2"),
        ],
        task_id="j1",
        started_at=at(2.5),
        media_id="m1",
        project_id="p1",
        task_status="Failed",
        task_error="BadClip: no such clip",
        task_finished_at=at(9),
        backfill=3,
        run="again",
    )
    lines = list(timeline(story))
    expected = [
        "seen by poll:b/in/: etag e1, 7 bytes",
        "matched rule r: MATCHED",
        "recorded as run again by backfill 3",
        "attempt 1: SubmitMediaProducingJob at https://ice.example",
        "attempt 1: uncertain: no answer in time",
        "attempt 2: SubmitMediaProducingJob again, the request and token of attempt 1",
        "attempt 2: started: task j1 (RequestId REQ-2)",
        "task j1 makes media asset m1, project p1",
        "task j1 ended: Failed: BadClip: no such clip",
        "started twice: task j2 is a second one",
        "now: started, task Failed",
    ]
    assert [each in line for each, line in zip(expected, lines[1:], strict=True)] == [True] * len(expected), lines
    assert "ClientToken" in lines[4]
    assert "OutputMediaConfig" in lines[4]


def test_a_media_asset_is_registered_and_then_started() -> None:
    start = WorkflowCall(ENDPOINT, "wf", '{"Type":"Media","Media":"m1"}', "{}")
    story = detail(
        [sent(1, RegisterCall(ENDPOINT, "oss://b/in/a.mp4", "0" * 32, "{}")), sent(2, start)],
        [ended(1, "registered", message="media asset m1", request_id="REQ-1"), ended(2, "started", task_id="t1")],
        task_id="t1",
        task_status="Processing",
    )
    assert [(each.event, each.attempt) for each in moments(story)] == [
        ("seen", None),
        ("matched", None),
        ("recorded", None),
        ("sent", 1),
        ("registered", 1),
        ("sent", 2),
        ("started", 2),
        ("task_status", None),
    ]
    lines = "\n".join(timeline(story))
    assert "RegisterMediaInfo at https://ice.example, InputURL oss://b/in/a.mp4" in lines
    assert "attempt 1: registered: media asset m1 (RequestId REQ-1)" in lines
    assert "attempt 2: StartWorkflow wf" in lines


def test_what_is_not_finished_tells_what_comes_next() -> None:
    uncertain = detail([sent(1, JOB)], [], state=DispatchState.UNCERTAIN, repeat_at=at(2), next_at=at(3))
    assert list(timeline(uncertain))[-1].startswith("  now: uncertain, sent again at ")
    skipped = detail([], [], state=DispatchState.SKIPPED, reason=StateReason.SUPERSEDED)
    assert "skipped: SUPERSEDED" in list(timeline(skipped))[-3]
    error = LastError("LIMIT", "output_media_config.Width: at most 4096", None)
    dead = detail([], [], state=DispatchState.DEAD, reason=StateReason.LIMIT, last_error=error)
    assert list(timeline(dead))[-1] == "  now: dead (LIMIT): output_media_config.Width: at most 4096"


def test_json_has_the_time_line_beside_the_documented_fields() -> None:
    shown = detail_json(detail([sent(1, JOB)], [ended(1, "started", task_id="j1")], api=Api.SUBMIT_MEDIA_PRODUCING_JOB))
    assert shown["api"] == "SubmitMediaProducingJob"
    line = shown["timeline"]
    assert isinstance(line, list)
    assert line[3] == {
        "at": "2026-03-14T12:01:00.000Z",
        "event": "sent",
        "attempt": 1,
        "text": line[3]["text"],
    }


def test_of_a_pruned_dispatch_the_fact_is_told() -> None:
    pruned = DispatchDetail(ID, DispatchState.STARTED, "t1", None)
    assert list(timeline(pruned)) == [
        f"{ID}: started, task t1; its detail was pruned (ledger.keep), the fact stays",
    ]
    assert (detail_json(pruned)["timeline"], detail_json(pruned)["pruned"]) == ([], True)


def test_what_a_sweep_found_comes_when_it_was_found_and_the_task_after_it() -> None:
    """The service's clock may be behind ours."""
    found = OutcomeView(1, "started", None, None, None, "j1", "sweep", at(-3), at(5))
    story = detail([sent(1, JOB)], [ended(1, "uncertain"), found], task_id="j1", task_finished_at=at(-2))
    assert [(each.event, each.at) for each in moments(story)][3:] == [
        ("sent", at(1)),
        ("uncertain", at(1.5)),
        ("started", at(5)),
        ("task_finished", at(-2)),
    ]
