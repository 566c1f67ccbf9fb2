"""The time line of a dispatch: what happened to one object for one rule, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.calls import Api, Endpoint
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.documents import brief_time
from dispatcher.core.parameters import parameters_of
from dispatcher.core.rules import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dispatcher.ledger.browse import AttemptView, DispatchDetail, DispatchView, OutcomeView


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. `event` is one word for programs, `text` the same for people."""

    at: datetime
    event: str
    text: str
    attempt: int | None = None


def moments(detail: DispatchDetail) -> list[Moment]:
    """Return what happened to a dispatch, in order; nothing of one whose detail was pruned.

    Calls and what was learned of them are ordered by our clock. A task's own times are the service's, whose
    clock is another and counts whole seconds: they come after what started it.
    """
    view = detail.view
    if view is None:
        return []
    called = [*_calls(detail), *(_ended(each) for each in detail.outcomes)]
    # Stable: of one moment, what the ledger wrote first comes first.
    found = [*_beginning(view), *sorted(called, key=lambda moment: moment.at), *_task(view)]
    if view.state is DispatchState.SKIPPED:
        found.append(Moment(view.updated_at, "skipped", f"skipped: {view.reason}"))
    return found


def timeline(detail: DispatchDetail) -> Iterator[str]:
    """Yield the lines that tell what happened to a dispatch."""
    view = detail.view
    if view is None:
        task = f", task {detail.task_id}" if detail.task_id else ""
        yield f"{detail.dispatch_id}: {detail.state}{task}; its detail was pruned (ledger.keep), the fact stays"
    else:
        yield f"{view.dispatch_id}: rule {view.rule}, bucket {view.bucket}, key {view.key}"
    for moment in moments(detail):
        yield f"  {brief_time(moment.at)}  {moment.text}"
    for task_id in detail.double_starts:
        yield f"  started twice: task {task_id} is a second one"
    if view is not None:
        # A call that was not made has no outcome to tell why.
        why = f": {view.last_error.message}" if view.last_error is not None and not detail.attempts else ""
        yield f"  now: {state_text(view)}{_next(view)}{why}"


def state_text(view: DispatchView) -> str:
    """Return state, reason and the task's status in a few words."""
    reason = f" ({view.reason})" if view.reason is not None else ""
    task = f", task {view.task_status}" if view.task_status else ""
    return f"{view.state}{reason}{task}"


def _next(view: DispatchView) -> str:
    again = f", sent again at {brief_time(view.repeat_at)}" if view.repeat_at is not None else ""
    return again + (f", next at {brief_time(view.next_at)}" if view.next_at is not None else "")


def _beginning(view: DispatchView) -> Iterator[Moment]:
    at = view.first_seen_at
    yield Moment(at, "seen", f"seen by {view.source}: etag {view.etag}, {view.size} bytes")
    yield Moment(at, "matched", f"matched rule {view.rule}: {Reason.MATCHED}")
    run = f" as run {view.run}" if view.run else ""
    backfill = f" by backfill {view.backfill}" if view.backfill is not None else ""
    yield Moment(at, "recorded", f"recorded{run}{backfill}")


def _calls(detail: DispatchDetail) -> Iterator[Moment]:
    first: dict[str, int] = {}
    for attempt in detail.attempts:
        same = first.setdefault(attempt.request, attempt.attempt)
        if same == attempt.attempt or attempt.api is not Api.SUBMIT_MEDIA_PRODUCING_JOB:
            yield Moment(attempt.intent_at, "sent", _sent(attempt), attempt.attempt)
        else:
            text = f"attempt {attempt.attempt}: {attempt.api} again, the request and token of attempt {same}"
            yield Moment(attempt.intent_at, "repeated", text, attempt.attempt)


def _sent(attempt: AttemptView) -> str:
    from dispatcher.ledger.calls import call_from_text  # noqa: PLC0415 - only where a ledger is read

    call = call_from_text(Endpoint(attempt.region, attempt.endpoint), attempt.request, attempt.api)
    sent = parameters_of(call)
    # The time line names first what was started, then what it was given.
    what = sent.pop("WorkflowId", "")
    given = ", ".join(f"{name} {text}" for name, text in sent.items())
    return f"attempt {attempt.attempt}: {attempt.api}{' ' if what else ''}{what} at {attempt.endpoint}, {given}"


def _ended(outcome: OutcomeView) -> Moment:
    facts = (outcome.code, outcome.message, outcome.task_id and f"task {outcome.task_id}")
    said = ", ".join(each for each in facts if each)
    request = f" (RequestId {outcome.request_id})" if outcome.request_id else ""
    called = outcome.evidence == "call"
    told_by = "" if called else f", told by {outcome.evidence}"
    text = f"attempt {outcome.attempt}: {outcome.kind}{': ' if said else ''}{said}{request}{told_by}"
    return Moment(outcome.ended_at if called else outcome.recorded_at, outcome.kind, text, outcome.attempt)


def _task(view: DispatchView) -> Iterator[Moment]:
    made = (("media asset", view.media_id), ("VOD media", view.vod_media_id), ("project", view.project_id))
    told = ", ".join(f"{name} {value}" for name, value in made if value is not None)
    if told and view.started_at is not None:
        yield Moment(view.started_at, "makes", f"task {view.task_id} makes {told}")
    if view.task_finished_at is not None:
        failed = f": {view.task_error}" if view.task_error else ""
        text = f"task {view.task_id} ended: {view.task_status}{failed}"
        yield Moment(view.task_finished_at, "task_finished", text)
    elif view.task_status is not None:
        yield Moment(view.updated_at, "task_status", f"task {view.task_id} seen as {view.task_status}")
