"""From a rule and an object to the call that will be sent. Pure and deterministic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.calls import WorkflowCall
from dispatcher.core.dispatch import attempt_token
from dispatcher.core.templates import ObjectFields, parse_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.rules import Rule

USER_DATA_LIMIT = 512
"""Bytes of UTF-8 that the service takes as UserData (StartWorkflow)."""
ID_FIELD = "DispatchId"
"""The field of UserData that carries our id and attempt; sweeps look for it."""


@dataclass(frozen=True, slots=True)
class UserDataTooLong:
    """The rendered UserData has this many bytes, more than `USER_DATA_LIMIT`: it cannot be sent."""

    size: int


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
) -> WorkflowCall | UserDataTooLong:
    """Return the StartWorkflow call of one attempt, or how far its UserData is over the limit.

    The rule's templates were checked when the configuration was read; a wrong one raises
    TemplateError.
    """
    fields = ObjectFields(bucket, key, etag, size, rule.id, dispatch_id)
    action = rule.action
    user_data = render_user_data(action.user_data, fields, attempt)
    length = len(user_data.encode())
    if length > USER_DATA_LIMIT:
        return UserDataTooLong(length)
    return WorkflowCall(
        endpoint=endpoint,
        workflow_id=action.workflow_id,
        task_input=_json({"Type": "OSS", "Media": parse_template(action.media_url).render(fields)}),
        user_data=user_data,
        skip_input_verification=action.skip_input_verification,
    )


def render_user_data(user_data: Mapping[str, object], fields: ObjectFields, attempt: int) -> str:
    """Return the UserData text: the configured fields, rendered, and our id last."""
    rendered = {name: _rendered(value, fields) for name, value in user_data.items()}
    return _json({**rendered, ID_FIELD: attempt_token(fields.dispatch_id, attempt)})


def _rendered(value: object, fields: ObjectFields) -> object:
    if isinstance(value, str):
        return parse_template(value).render(fields)
    if isinstance(value, dict):
        return {name: _rendered(inner, fields) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rendered(inner, fields) for inner in value]
    return value


def _json(value: object) -> str:
    """Return compact JSON that is valid UTF-8 for every key.

    A byte of a key that is not UTF-8 stands in the text as a lone surrogate; it is written as
    JSON's own escape, so that two such keys never become one.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()
