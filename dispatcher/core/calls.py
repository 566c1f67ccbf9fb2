"""The calls we make, as values: what is frozen in an attempt, and what the service tells back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Api(StrEnum):
    """An API of the service; each has its own quota."""

    START_WORKFLOW = "StartWorkflow"
    LIST_WORKFLOW_TASKS = "ListWorkflowTasks"
    GET_WORKFLOW_TASK = "GetWorkflowTask"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the calls for one bucket go: the region, and the service's URL there.

    `url` is always a full URL (`https://ice.cn-hangzhou.aliyuncs.com`), without a path.
    """

    region: str
    url: str


@dataclass(frozen=True, slots=True)
class WorkflowCall:
    """One StartWorkflow call, complete: written to the ledger before it is sent.

    `task_input` and `user_data` are the JSON texts that travel.
    """

    endpoint: Endpoint
    workflow_id: str
    task_input: str
    user_data: str
    skip_input_verification: bool = False


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """One sweep: all tasks of a workflow created in [since, until]."""

    endpoint: Endpoint
    workflow_id: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class ServiceTask:
    """A workflow task as ListWorkflowTasks or GetWorkflowTask reports it.

    `status` is the service's own word, also one we do not know. `activity_results` is the JSON
    text of GetWorkflowTask, None in a listing.
    """

    task_id: str
    workflow_id: str
    status: str
    task_input: str
    user_data: str
    created_at: datetime | None
    finished_at: datetime | None
    activity_results: str | None = None
