"""An explanation as JSON: each rule's verdict, and the request that would be sent, secrets masked."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from dispatcher.core.calls import EditingCall, api_of
from dispatcher.core.documents import Json, Record, rfc3339
from dispatcher.core.parameters import masked_json
from dispatcher.core.unsendable import (
    USER_DATA_LIMIT,
    LimitBroken,
    UserDataTooLong,
    advice_for,
    reason_of,
    sentence_of,
    user_data_limit,
)
from dispatcher.service.documents.dispatches import dispatch_json

if TYPE_CHECKING:
    from dispatcher.core.calls import Call
    from dispatcher.core.rules import Rule
    from dispatcher.core.unsendable import Unsendable
    from dispatcher.service.explaining import Explanation, Judgement
    from dispatcher.service.live import LiveExplanation


def explanation_json(explanation: Explanation, live: LiveExplanation | None) -> Record:
    """Return one object's explanation; with `live` also what is true now."""
    record: dict[str, Json] = {
        "url": explanation.url,
        "bucket": explanation.bucket,
        "key": explanation.key,
        "verdicts": [_verdict(each) for each in explanation.judgements],
    }
    if live is not None:
        record["live"] = _live_json(live)
    return record


def _verdict(judgement: Judgement) -> Record:
    return {
        "rule": judgement.verdict.rule.id,
        "matched": judgement.verdict.matched,
        "reason": judgement.verdict.reason.value,
        "sentence": judgement.sentence,
        "dispatch_id": judgement.dispatch_id,
        "request": _request(judgement.call, judgement.verdict.rule),
        # What follows once the object is a media asset; null for all but such rules.
        "then": _request(judgement.then, judgement.verdict.rule),
    }


def _request(call: Call | Unsendable | None, rule: Rule) -> Record | None:
    """Return the fields of a call by our names, secrets masked; what keeps it from being sent; None without one."""
    if call is None:
        return None
    if isinstance(call, UserDataTooLong | LimitBroken):
        refused: dict[str, Json] = {
            "error": reason_of(call).value,
            "message": sentence_of(call),
            "hint": advice_for(call, rule),
        }
        if isinstance(call, UserDataTooLong):
            return {**refused, "user_data_bytes": call.size, "user_data_limit": USER_DATA_LIMIT}
        return {**refused, "field": call.field}
    fields = {name: value for name, value in asdict(call).items() if name != "endpoint" and value != ""}
    if isinstance(call, EditingCall):
        fields["output_media_config"] = masked_json(call.output_media_config)
    return {
        "action": api_of(call).value,
        "endpoint": call.endpoint.url,
        "region": call.endpoint.region,
        **fields,
        "user_data_bytes": len(call.user_data.encode()),
        "user_data_limit": user_data_limit(call),
    }


def _live_json(live: LiveExplanation) -> Record:
    head = live.head
    return {
        "object": None
        if head is None
        else {"etag": head.etag, "size": head.size, "modified_at": rfc3339(head.modified_at)},
        "dispatches": [dispatch_json(each) for each in live.dispatches],
        "foreign_starts": [
            {"task_id": each.task_id, "workflow": each.workflow_id, "created_at": rfc3339(each.created_at)}
            for each in live.foreign
        ],
        "why": [{"rule": each.rule, "dispatch_id": each.dispatch_id, "why": each.why} for each in live.why_not],
        "notes": list(live.notes),
    }
