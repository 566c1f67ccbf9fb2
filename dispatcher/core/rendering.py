"""From a rule and an object to the call that will be sent. Pure and deterministic."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import EditingCall, RegisterCall, WorkflowCall
from dispatcher.core.dispatch import attempt_token
from dispatcher.core.editing import broken_limits, resolved
from dispatcher.core.media_urls import not_registrable, service_region
from dispatcher.core.rules import EditingAction, InputType, WorkflowAction
from dispatcher.core.templates import ObjectFields, parse_template, render_value
from dispatcher.core.unsendable import USER_DATA_LIMIT, LimitBroken, UserDataTooLong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.core.calls import Call, Endpoint
    from dispatcher.core.rules import Rule
    from dispatcher.core.unsendable import Unsendable

ID_FIELD = "DispatchId"
"""The field of UserData that carries our id and attempt; sweeps look for it."""
_REGISTRATIONS = uuid.UUID("6f6d1a52-2f0e-5d0c-9a39-0b7c7c1a4d11")
"""Namespace of the client tokens by which objects are registered as media assets."""


def render_call(  # noqa: PLR0913 - the object's fields are one flat list, by keyword
    rule: Rule,
    endpoint: Endpoint,
    *,
    bucket: str,
    key: str,
    etag: str,
    size: int,
    dispatch_id: str,
    attempt: int,
    input_media_id: str | None = None,
) -> Call | Unsendable:
    """Return the next call of a dispatch, or which limit of the service keeps it from being sent.

    A rule whose workflow reads media assets registers the object first: that is the call until
    `input_media_id` is known. The rule's templates were checked when the configuration was read; a
    wrong one raises TemplateError.
    """
    fields = ObjectFields(bucket, key, etag, size, rule.id, dispatch_id)
    action = rule.action
    user_data = render_user_data(action.user_data, fields, attempt)
    length = len(user_data.encode())
    if length > USER_DATA_LIMIT:
        return UserDataTooLong(length)
    match action:
        case WorkflowAction():
            return _workflow_call(action, endpoint, fields, user_data, input_media_id)
        case EditingAction():
            return _editing_call(action, endpoint, fields, user_data)
        case _:
            assert_never(action)


def _workflow_call(
    action: WorkflowAction, endpoint: Endpoint, fields: ObjectFields, user_data: str, input_media_id: str | None
) -> WorkflowCall | RegisterCall | LimitBroken:
    media_url = parse_template(action.media_url).render(fields)
    if action.input_type is InputType.OSS:
        task_input = {"Type": "OSS", "Media": media_url}
    elif input_media_id is not None:
        task_input = {"Type": "Media", "Media": input_media_id}
    elif (fault := not_registrable(media_url)) is not None:
        return LimitBroken(("media_url",), fault)
    else:
        token = uuid.uuid5(_REGISTRATIONS, fields.dispatch_id).hex
        return RegisterCall(endpoint, media_url, token, _json({ID_FIELD: fields.dispatch_id}))
    return WorkflowCall(endpoint, action.workflow_id, _json(task_input), user_data, action.skip_input_verification)


def _editing_call(
    action: EditingAction, endpoint: Endpoint, fields: ObjectFields, user_data: str
) -> EditingCall | LimitBroken:
    job = resolved(action, lambda value: render_value(value, fields))
    broken = next(broken_limits(job, service_region(endpoint), {}), None)
    if broken is not None:
        return broken
    return EditingCall(
        endpoint=endpoint,
        client_token=fields.dispatch_id,
        output_media_config=_json(job.output_media_config),
        user_data=user_data,
        template_id=job.template_id or "",
        project_id=job.project_id or "",
        timeline=_json_or_nothing(job.timeline),
        clips_param=_json_or_nothing(job.clips_param),
        output_media_target=job.output_media_target.value,
        editing_produce_config=_json_or_nothing(job.editing_produce_config),
        media_metadata=_json_or_nothing(job.media_metadata),
        project_metadata=_json_or_nothing(job.project_metadata),
        source=job.source or "",
    )


def _json_or_nothing(value: Mapping[str, object] | None) -> str:
    return "" if value is None else _json(value)


def render_user_data(user_data: Mapping[str, object], fields: ObjectFields, attempt: int) -> str:
    """Return the UserData text: the configured fields, rendered, and our id last."""
    rendered = {name: render_value(value, fields) for name, value in user_data.items()}
    return _json({**rendered, ID_FIELD: attempt_token(fields.dispatch_id, attempt)})


def _json(value: object) -> str:
    """Return compact JSON that is valid UTF-8 for every key.

    A byte of a key that is not UTF-8 stands in the text as a lone surrogate; it is written as
    JSON's own escape, so that two such keys never become one.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()
