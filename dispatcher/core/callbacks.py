"""What a completion callback of IMS names: a task or a job that may have ended. Pure.

The body is not signed, and its MessageBody is documented in part, so it is read leniently and believed in
nothing but where to look ("Event list", "Callback events overview").
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from dispatcher.core.calls import Api, TaskHint
from dispatcher.core.tracing import token_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {"TaskId": Api.START_WORKFLOW, "JobId": Api.SUBMIT_MEDIA_PRODUCING_JOB}
_LONGEST_ID = 128


def named_task(body: bytes) -> TaskHint | None:
    """Return the workflow task or producing job that a callback is about; None if it is about neither."""
    event = _mapping(body)
    message = event.get("MessageBody", event)
    inner = _mapping(message) if isinstance(message, str) else message
    for fields in (inner, event):
        if not isinstance(fields, dict):
            continue
        for name, api in _NAMES.items():
            task_id = fields.get(name)
            if isinstance(task_id, str) and task_id.isascii() and 0 < len(task_id) <= _LONGEST_ID:
                user_data = fields.get("UserData")
                return TaskHint(api, task_id, token_of(user_data) if isinstance(user_data, str) else None)
    return None


def callback_signature(url: str, timestamp: str, auth_key: str) -> str:
    """Return X-ICE-SIGNATURE of a callback: lower-case hex MD5 of URL, time and key ("Callback authentication").

    It does not cover the body.
    """
    return hashlib.md5(f"{url}|{timestamp}|{auth_key}".encode(), usedforsecurity=False).hexdigest()


def _mapping(text: bytes | str) -> Mapping[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # text of strangers: any bytes, any depth
        return {}
    return value if isinstance(value, dict) else {}
