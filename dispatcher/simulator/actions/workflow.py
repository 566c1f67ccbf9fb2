"""StartWorkflow, GetWorkflowTask and ListWorkflowTasks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dispatcher.simulator.actions.parameters import Parameters, boolean, invalid, required, time, user_data
from dispatcher.simulator.pages import read_cursor
from dispatcher.simulator.signature import Refused
from dispatcher.simulator.tasks import MediaInput, TaskFilter, split_object_url
from dispatcher.simulator.times import format_time

if TYPE_CHECKING:
    from dispatcher.simulator.account import Account
    from dispatcher.simulator.settings import SimulatedWorkflow
    from dispatcher.simulator.tasks import TaskView

KEY_TEXT_LENGTH = 32
LISTED_FOR = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Start:
    """A StartWorkflow request that may be accepted."""

    workflow_id: str
    task_input: str
    user_data: str
    skip: bool


def read_start(parameters: Parameters, account: Account) -> Start:
    """Return the request that the parameters make, else raise Refused."""
    workflow_id = required(parameters, "WorkflowId")
    task_input = required(parameters, "TaskInput")
    workflow = account.settings.workflow(workflow_id)
    if workflow is None:
        raise Refused(404, "InvalidWorkflow.NotFound", f"The workflow {workflow_id} does not exist.")
    if not workflow.active:
        raise Refused(400, "InvalidWorkflow.Inactive", f"The workflow {workflow_id} is not active.")
    start = Start(workflow_id, task_input, user_data(parameters), boolean(parameters, "SkipInputVerification"))
    try:
        source = MediaInput.parse(task_input)
    except ValueError as error:
        raise invalid("TaskInput", str(error)) from None
    if source.type == "Media" and not account.media.may_be_used(source.media):
        raise Refused(404, "InvalidMedia.NotFound", f"The media asset {source.media} does not exist.")
    if not start.skip and not _supports(workflow, source):
        raise Refused(400, "InvalidParameter.InputPath", "The workflow does not support this input path.")
    return start


def _supports(workflow: SimulatedWorkflow, source: MediaInput) -> bool:
    if source.type != "OSS" or not workflow.inputs:
        return True
    for prefix in workflow.inputs:
        bucket, key = split_object_url(prefix)
        if bucket == source.bucket and source.key.startswith(key):
            return True
    return False


def get_task(parameters: Parameters, account: Account, now: datetime) -> dict[str, object]:
    """Return the answer of GetWorkflowTask, else raise Refused."""
    view = account.tasks.get(required(parameters, "TaskId"), now)
    if view is None:
        raise Refused(404, "InvalidTaskId.NotFound", "The task does not exist.")
    return {"WorkflowTask": _task_fields(view) | {"ActivityResults": view.activity_results()}}


def list_tasks(parameters: Parameters, account: Account, now: datetime) -> dict[str, object]:
    """Return one page of ListWorkflowTasks, newest first, else raise Refused."""
    cursor = read_cursor(parameters)
    page = account.tasks.page(_filter(parameters, now), cursor, now)
    tasks = [_task_fields(view) for view in page.items]
    return {"MaxResults": cursor.size, "NextToken": page.next_token, "TaskList": tasks}


def _filter(parameters: Parameters, now: datetime) -> TaskFilter:
    key_text = parameters.get("KeyText") or None
    if key_text is not None and len(key_text) > KEY_TEXT_LENGTH:
        raise invalid("KeyText", f"it may have {KEY_TEXT_LENGTH} characters")
    since, until = time(parameters, "StartOfCreateTime"), time(parameters, "EndOfCreateTime")
    if since is not None and since < now - LISTED_FOR:
        raise invalid("StartOfCreateTime", "only the last 90 days can be listed")
    if since is not None and until is not None and since > until:
        raise invalid("EndOfCreateTime", "it lies before StartOfCreateTime")
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
