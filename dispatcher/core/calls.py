"""The calls we make, as values: what is frozen in an attempt, and what the service tells back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from datetime import datetime


class Api(StrEnum):
    """An API of the service; each has its own quota."""

    START_WORKFLOW = "StartWorkflow"
    REGISTER_MEDIA_INFO = "RegisterMediaInfo"
    SUBMIT_MEDIA_PRODUCING_JOB = "SubmitMediaProducingJob"
    LIST_WORKFLOW_TASKS = "ListWorkflowTasks"
    GET_WORKFLOW_TASK = "GetWorkflowTask"
    GET_MEDIA_INFO = "GetMediaInfo"
    LIST_MEDIA_PRODUCING_JOBS = "ListMediaProducingJobs"
    GET_MEDIA_PRODUCING_JOB = "GetMediaProducingJob"
    LIST_BATCH_MEDIA_PRODUCING_JOBS = "ListBatchMediaProducingJobs"


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
class RegisterCall:
    """One RegisterMediaInfo call: what makes an object a media asset before a workflow reads it.

    `client_token` is a UUID of 32 characters, the same for every attempt of a dispatch. Registering never
    overwrites: a URL that is registered already yields the media id it has.
    """

    endpoint: Endpoint
    input_url: str
    client_token: str
    user_data: str


@dataclass(frozen=True, slots=True)
class EditingCall:
    """One SubmitMediaProducingJob call, complete. Each text is sent as it is; empty ones are not sent.

    Exactly one of `template_id`, `project_id` and `timeline` is not empty. `client_token` is the dispatch id.
    """

    endpoint: Endpoint
    client_token: str
    output_media_config: str
    user_data: str
    template_id: str = ""
    project_id: str = ""
    timeline: str = ""
    clips_param: str = ""
    output_media_target: str = ""
    editing_produce_config: str = ""
    media_metadata: str = ""
    project_metadata: str = ""
    source: str = ""


class Stage(Enum):
    """Which of its calls a dispatch needs next: its only one, or the first or the second of two."""

    ONLY = auto()
    REGISTER = auto()
    START = auto()


Call = WorkflowCall | RegisterCall | EditingCall
"""Whatever a dispatch may need to be called; `api_of` names its API."""


def api_of(call: Call) -> Api:
    """Return the API that a call goes to."""
    match call:
        case WorkflowCall():
            return Api.START_WORKFLOW
        case RegisterCall():
            return Api.REGISTER_MEDIA_INFO
        case EditingCall():
            return Api.SUBMIT_MEDIA_PRODUCING_JOB
        case _:
            assert_never(call)


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """One sweep: all tasks of a workflow created in [since, until]. Workflow "": those of every workflow."""

    endpoint: Endpoint
    workflow_id: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class JobQuery:
    """One sweep: all producing jobs of an endpoint created in [since, until]."""

    endpoint: Endpoint
    since: datetime
    until: datetime


SweepQuery = TaskQuery | JobQuery


@dataclass(frozen=True, slots=True)
class TaskHint:
    """A task of which somebody says that it ended: worth a look, and evidence of nothing.

    `api` is the call that started it, `token` the dispatch id and attempt that it is said to carry.
    """

    api: Api
    task_id: str
    token: tuple[str, int] | None = None


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
