"""Completion events: what is told of a task or job that became final, and to whom.

The form is that of IMS's "Event list": EventType, UserId, EventTime and MessageBody. The fields of
MessageBody are those that ApsaraVideo VOD documents for its events of the same names, with the job's
own; UserData is not among them, since no document promises it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dispatcher.simulator.journal import AcceptedCall, JournalEntry
from dispatcher.simulator.replies import json_bytes
from dispatcher.simulator.times import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from dispatcher.core.settings import Secret
    from dispatcher.simulator.account import Account

TASK_EVENT, JOB_EVENT = "WorkflowTaskComplete", "ProduceMediaComplete"
_SCHEMES = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Promise:
    """A completion event that is due when its subject (a task or job id) becomes final."""

    due_at: datetime
    event_type: str
    subject: str
    url: str


def promise_of(accepted: JournalEntry | AcceptedCall, account: Account) -> Promise | None:
    """Return the event that this start or job will lead to; None if nobody is to be told."""
    match accepted:
        case JournalEntry():
            due_at, kind, subject = account.tasks.final_at(accepted), TASK_EVENT, accepted.task_id
            user_data = accepted.user_data
        case AcceptedCall(api="SubmitMediaProducingJob"):
            due_at, kind, subject = account.jobs.final_at(accepted), JOB_EVENT, accepted.answer["JobId"]
            user_data = accepted.parameters.get("UserData", "")
        case _:
            return None
    url = _address(user_data, account.settings.callbacks.url)
    return None if url is None else Promise(due_at, kind, subject, url)


def _address(user_data: str, default: str | None) -> str | None:
    """Return the NotifyAddress, else the account's; None for one that names a message queue: there is none here."""
    own = json.loads(user_data).get("NotifyAddress") if user_data else None
    if not own:
        return default
    return own if isinstance(own, str) and own.startswith(_SCHEMES) else None


def event_body(promise: Promise, account: Account) -> bytes:
    """Return the JSON text that is posted. The subject is final by now."""
    message = _task_message(promise, account) if promise.event_type == TASK_EVENT else _job_message(promise, account)
    event = {
        "EventType": promise.event_type,
        "UserId": account.settings.user_id,
        "EventTime": format_time(promise.due_at),
        "MessageBody": message,
    }
    return json_bytes(event)


def _task_message(promise: Promise, account: Account) -> Mapping[str, str]:
    view = account.tasks.get(promise.subject, promise.due_at)
    if view is None:
        raise LookupError(promise.subject)
    finished = format_time(promise.due_at)
    return {
        "TaskId": view.entry.task_id,
        "WorkflowId": view.entry.workflow_id,
        "Status": str(view.status),
        "TaskInput": view.entry.task_input,
        "ActivityResults": view.activity_results(),
        "CreateTime": format_time(view.entry.at),
        "ModifiedTime": finished,
        "FinishTime": finished,
    }


def _job_message(promise: Promise, account: Account) -> Mapping[str, str]:
    view = account.jobs.get(promise.subject, promise.due_at)
    if view is None:
        raise LookupError(promise.subject)
    message = {
        "JobId": view.job_id,
        "Status": str(view.status),
        "ProjectId": view.call.answer["ProjectId"],
        "MediaId": view.call.answer["MediaId"],
        "MediaURL": view.output_url,
    }
    if view.error is not None:
        message |= {"ErrorCode": view.error[0], "ErrorMessage": view.error[1]}
    return message


def signed_headers(url: str, auth_key: Secret | None, now: datetime) -> dict[str, str]:
    """Return the headers of a callback: with a key, time and signature as "Callback authentication" says."""
    headers = {"Content-Type": "application/json"}
    if auth_key is not None:
        timestamp = str(int(now.timestamp()))
        text = f"{url}|{timestamp}|{auth_key.value}"
        digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        headers |= {"X-ICE-TIMESTAMP": timestamp, "X-ICE-SIGNATURE": digest}
    return headers


def on_loopback(url: str) -> bool:
    """Return whether a URL surely names this machine, without asking a name server."""
    try:
        host = urlsplit(url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
