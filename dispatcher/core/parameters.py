"""What of a call travels, by the service's own names: for whoever shows a call. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import EditingCall, RegisterCall, WorkflowCall

if TYPE_CHECKING:
    from dispatcher.core.calls import Call

MASK = "***"
_SECRETS = frozenset({"accesskeyid", "accesskeysecret", "securitytoken"})
"""Fields of OutputMediaConfig (target S3) that are never shown; compared in lower case."""


def parameters_of(call: Call) -> dict[str, str]:
    """Return every parameter that will be sent, in the order of the documentation; secrets are masked."""
    match call:
        case WorkflowCall():
            sent = {
                "WorkflowId": call.workflow_id,
                "TaskInput": call.task_input,
                "SkipInputVerification": "true" if call.skip_input_verification else "",
                "UserData": call.user_data,
            }
        case RegisterCall():
            sent = {"InputURL": call.input_url, "ClientToken": call.client_token, "UserData": call.user_data}
        case EditingCall():
            sent = {
                "TemplateId": call.template_id,
                "ProjectId": call.project_id,
                "Timeline": call.timeline,
                "ClipsParam": call.clips_param,
                "OutputMediaTarget": call.output_media_target,
                "OutputMediaConfig": masked_json(call.output_media_config),
                "EditingProduceConfig": call.editing_produce_config,
                "MediaMetadata": call.media_metadata,
                "ProjectMetadata": call.project_metadata,
                "Source": call.source,
                "ClientToken": call.client_token,
                "UserData": call.user_data,
            }
        case _:
            assert_never(call)
    return {name: text for name, text in sent.items() if text}


def masked_json(text: str) -> str:
    """Return a JSON text with the values of secret fields masked; text without such fields as it is."""
    if not any(secret in text.lower() for secret in _SECRETS):
        return text
    return json.dumps(masked(json.loads(text)), ensure_ascii=False, separators=(",", ":"))


def masked(value: object) -> object:
    """Return a JSON value with the values of secret fields masked, at any depth."""
    if isinstance(value, dict):
        return {name: MASK if name.lower() in _SECRETS else masked(inner) for name, inner in value.items()}
    return [masked(inner) for inner in value] if isinstance(value, list) else value
