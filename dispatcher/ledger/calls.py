"""A call as the text that its attempt keeps, and back: what was sent can be shown, and sent again as it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from dispatcher.core.calls import Api, EditingCall, RegisterCall, WorkflowCall

if TYPE_CHECKING:
    from dispatcher.core.calls import Call, Endpoint


def call_text(call: Call) -> str:
    """Return a call as JSON text: all of it but its endpoint, which the attempt keeps beside it."""
    fields = asdict(call)
    del fields["endpoint"]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def call_from_text(endpoint: Endpoint, request: str, api: Api) -> Call:
    """Return the call that `call_text` wrote, for the API that the attempt names."""
    fields = json.loads(request)
    match api:
        case Api.REGISTER_MEDIA_INFO:
            return RegisterCall(endpoint, **fields)
        case Api.SUBMIT_MEDIA_PRODUCING_JOB:
            return EditingCall(endpoint, **fields)
        case _:
            return WorkflowCall(endpoint, **fields)


def api_of_attempt(api: str | None) -> Api:
    """Return the API of an attempt or a row; those of the first version name none: StartWorkflow."""
    return Api.START_WORKFLOW if api is None else Api(api)
