"""The three actions: parameters checked as the documentation states them, and answers in its form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dispatcher.simulator.signature import Refused
from dispatcher.simulator.tasks import MediaInput, TaskFilter, format_time, parse_time, split_object_url

if TYPE_CHECKING:
    from dispatcher.simulator.settings import SimulatedWorkflow, SimulatorSettings
    from dispatcher.simulator.tasks import TaskBook, TaskView

Parameters = dict[str, str]

USER_DATA_BYTES = 512
KEY_TEXT_LENGTH = 32
PAGE_SIZE = 10
PAGE_LIMIT = 100
LISTED_FOR = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Start:
    """A StartWorkflow request that may be accepted."""

    workflow_id: str
    task_input: str
    user_data: str
    skip: bool


def read_start(parameters: Parameters, settings: SimulatorSettings) -> Start:
    """Return the request that the parameters make, else raise Refused."""
    workflow_id = _required(parameters, "WorkflowId")
    task_input = _required(parameters, "TaskInput")
    user_data = parameters.get("UserData", "")
    workflow = settings.workflow(workflow_id)
    if workflow is None:
        raise Refused(404, "InvalidWorkflow.NotFound", f"The workflow {workflow_id} does not exist.")
    if not workflow.active:
        raise Refused(400, "InvalidWorkflow.Inactive", f"The workflow {workflow_id} is not active.")
    _check_user_data(user_data)
    skip = parameters.get("SkipInputVerification", "false").lower()
    if skip not in ("true", "false"):
        raise _invalid("SkipInputVerification", "it must be true or false")
    try:
        source = MediaInput.parse(task_input)
    except ValueError as error:
        raise _invalid("TaskInput", str(error)) from None
    if skip == "false" and not _supports(workflow, source):
        raise Refused(400, "InvalidParameter.InputPath", "The workflow does not support this input path.")
    return Start(workflow_id, task_input, user_data, skip == "true")


def _supports(workflow: SimulatedWorkflow, source: MediaInput) -> bool:
    if source.type != "OSS" or not workflow.inputs:
        return True
    for prefix in workflow.inputs:
        bucket, key = split_object_url(prefix)
        if bucket == source.bucket and source.key.startswith(key):
            return True
    return False


def _check_user_data(text: str) -> None:
    if len(text.encode()) > USER_DATA_BYTES:
        raise _invalid("UserData", f"it may have {USER_DATA_BYTES} bytes")
    try:
        valid = not text or isinstance(json.loads(text), dict)
    except ValueError:
        valid = False
    if not valid:
        raise _invalid("UserData", "it must be a JSON object")


def get_task(parameters: Parameters, book: TaskBook, now: datetime) -> dict[str, object]:
    """Return the WorkflowTask of GetWorkflowTask, else raise Refused."""
    task_id = _required(parameters, "TaskId")
    view = book.get(task_id, now)
    if view is None:
        raise Refused(404, "InvalidTaskId.NotFound", "The task does not exist.")
    return _task_fields(view) | {"ActivityResults": view.activity_results()}


def list_tasks(parameters: Parameters, book: TaskBook, now: datetime) -> dict[str, object]:
    """Return one page of ListWorkflowTasks, newest first, else raise Refused."""
    size = _number(parameters, "MaxResults", PAGE_SIZE, PAGE_LIMIT)
    token = parameters.get("NextToken")
    before = None if not token else _number(parameters, "NextToken", 0, None)
    page = book.page(_filter(parameters, now), before=before, size=size, now=now)
    # A full page may be the last one: then the next is empty, as with the real service's tokens.
    following = str(page[-1].number) if len(page) == size and page[-1].number > 0 else ""
    return {"MaxResults": size, "NextToken": following, "TaskList": [_task_fields(view) for view in page]}


def _filter(parameters: Parameters, now: datetime) -> TaskFilter:
    key_text = parameters.get("KeyText") or None
    if key_text is not None and len(key_text) > KEY_TEXT_LENGTH:
        raise _invalid("KeyText", f"it may have {KEY_TEXT_LENGTH} characters")
    since, until = _time(parameters, "StartOfCreateTime"), _time(parameters, "EndOfCreateTime")
    if since is not None and since < now - LISTED_FOR:
        raise _invalid("StartOfCreateTime", "only the last 90 days can be listed")
    if since is not None and until is not None and since > until:
        raise _invalid("EndOfCreateTime", "it lies before StartOfCreateTime")
    return TaskFilter(
        workflow_id=parameters.get("WorkflowId") or None,
        workflow_name=parameters.get("WorkflowName") or None,
        key_text=key_text,
        since=max(since or now - LISTED_FOR, now - LISTED_FOR),
        until=until,
    )


def _task_fields(view: TaskView) -> dict[str, object]:
    entry = view.entry
    fields: dict[str, object] = {
        "TaskId": entry.task_id,
        "Status": str(view.status),
        "TaskInput": entry.task_input,
        "UserData": entry.user_data,
        "CreateTime": format_time(entry.at),
        "Workflow": {
            "WorkflowId": entry.workflow_id,
            "Name": view.workflow.name,
            "Status": "Active" if view.workflow.active else "Inactive",
            "Type": "Common",
        },
    }
    if view.finished_at is not None:
        fields["FinishTime"] = format_time(view.finished_at)
    return fields


def _required(parameters: Parameters, name: str) -> str:
    value = parameters.get(name)
    if not value:
        raise Refused(400, "MissingParameter", f"{name} is mandatory for this action.")
    return value


def _invalid(name: str, reason: str) -> Refused:
    return Refused(400, "InvalidParameter", f"The parameter {name} is not valid: {reason}.")


def _number(parameters: Parameters, name: str, default: int, limit: int | None) -> int:
    text = parameters.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < 1 or (limit is not None and int(text) > limit):
        raise _invalid(name, "it is not a number in range" if limit else "it is not a token of ours")
    return int(text)


def _time(parameters: Parameters, name: str) -> datetime | None:
    text = parameters.get(name)
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        raise _invalid(name, "write it as 2026-01-31T08:00:00Z") from None
