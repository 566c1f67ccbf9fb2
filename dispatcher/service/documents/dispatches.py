"""A dispatch as JSON: the public contract's fields, and everything that is known of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dispatcher.core.documents import Json, rfc3339
from dispatcher.core.parameters import masked_json
from dispatcher.service.documents.timeline import moments

if TYPE_CHECKING:
    from dispatcher.ledger.browse import AttemptView, DispatchDetail, DispatchView, OutcomeView
    from dispatcher.service.documents.timeline import Moment


def dispatch_json(view: DispatchView) -> dict[str, Json]:
    """Return one dispatch with the fields of the contract, and what is known beside them."""
    error = view.last_error
    return {
        "dispatch_id": view.dispatch_id,
        "rule": view.rule,
        "bucket": view.bucket,
        "key": view.key,
        "etag": view.etag,
        "size": view.size,
        "run": view.run,
        "state": view.state.value,
        "reason": view.reason.value if view.reason is not None else None,
        "source": view.source,
        "attempts": view.attempts,
        "next_at": rfc3339(view.next_at),
        "workflow": view.workflow,
        "task_id": view.task_id,
        "task_status": view.task_status,
        "task_error": view.task_error,
        "request_id": view.request_id,
        "first_seen_at": rfc3339(view.first_seen_at),
        "started_at": rfc3339(view.started_at),
        "task_finished_at": rfc3339(view.task_finished_at),
        "updated_at": rfc3339(view.updated_at),
        "last_error": None
        if error is None
        else {"code": error.code, "message": error.message, "request_id": error.request_id},
        "api": view.api.value if view.api is not None else None,
        "media_id": view.media_id,
        "vod_media_id": view.vod_media_id,
        "project_id": view.project_id,
        "input_media_id": view.input_media_id,
        "backfill": view.backfill,
    }


def detail_json(detail: DispatchDetail) -> dict[str, Json]:
    """Return everything that is known of one dispatch. Of a pruned one its id, state and task are left."""
    known: dict[str, Json] = {
        "dispatch_id": detail.dispatch_id,
        "state": detail.state.value,
        "task_id": detail.task_id,
    }
    if detail.view is not None:
        known = dispatch_json(detail.view)
    return {
        **known,
        "pruned": detail.view is None,
        "double_starts": list(detail.double_starts),
        "calls": [_attempt_json(each) for each in detail.attempts],
        "outcomes": [_outcome_json(each) for each in detail.outcomes],
        "timeline": [_moment_json(each) for each in moments(detail)],
    }


def _moment_json(moment: Moment) -> Json:
    return {"at": rfc3339(moment.at), "event": moment.event, "attempt": moment.attempt, "text": moment.text}


def _attempt_json(attempt: AttemptView) -> Json:
    return {
        "attempt": attempt.attempt,
        "intent_at": rfc3339(attempt.intent_at),
        "region": attempt.region,
        "endpoint": attempt.endpoint,
        "action": attempt.api.value,
        "request": {
            name: masked_json(value) if name == "output_media_config" else value
            for name, value in json.loads(attempt.request).items()
        },
    }


def _outcome_json(outcome: OutcomeView) -> Json:
    return {
        "attempt": outcome.attempt,
        "outcome": outcome.kind,
        "code": outcome.code,
        "message": outcome.message,
        "request_id": outcome.request_id,
        "task_id": outcome.task_id,
        "evidence": outcome.evidence,
        "ended_at": rfc3339(outcome.ended_at),
    }
