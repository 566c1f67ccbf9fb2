"""What the simulator is told at start: who may call it, what the account holds, how it behaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dispatcher.core.settings import Secret
from dispatcher.simulator.faults import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

PRODUCING_QPS = 30
"""Calls of SubmitMediaProducingJob in a second, as its documentation says."""

QUICK_TYPES = ("Script", "Smart_Mix")
QUICK_STATUSES = ("Init", "Processing", "Finished", "Failed")


@dataclass(frozen=True, slots=True)
class SimulatedWorkflow:
    """A workflow template.

    `inputs` are `oss://bucket/prefix` texts: without SkipInputVerification an OSS input must begin
    with one of them (none: every path is supported). `output` is the URL of the file that a task
    writes; it may use {bucket}, {key}, {name}, {stem} and {task_id}. A task whose input URL matches
    one of `failing` (shell patterns) ends as Failed.
    """

    workflow_id: str
    name: str = "simulated"
    inputs: tuple[str, ...] = ()
    output: str = "oss://{bucket}/outputs/{task_id}/{stem}.m3u8"
    failing: tuple[str, ...] = ()
    active: bool = True


@dataclass(frozen=True, slots=True)
class SimulatedMedia:
    """A media asset that the account has from the start."""

    media_id: str
    input_url: str


@dataclass(frozen=True, slots=True)
class QuickJob:
    """A quick-production job, as ListBatchMediaProducingJobs shows it.

    `job_type` and `status` stay as they are; ValueError is raised for one that the service does not
    know. `created_at` None is the moment at which the simulator learns of the job. The
    configurations are JSON texts. None of the calls makes such jobs: they are given to the simulator.
    """

    job_id: str
    job_type: str = "Script"
    status: str = "Finished"
    created_at: datetime | None = None
    modified_at: datetime | None = None
    completed_at: datetime | None = None
    user_data: str = "{}"
    input_config: str = "{}"
    editing_config: str = "{}"
    output_config: str = "{}"
    extend: str = "{}"

    def __post_init__(self) -> None:
        for name, value, known in (("job_type", self.job_type, QUICK_TYPES), ("status", self.status, QUICK_STATUSES)):
            if value not in known:
                raise ValueError(f"{name}: {value!r} is none of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class SimulatedProject:
    """An IMM project and the OSS buckets that are bound to it."""

    name: str
    buckets: tuple[str, ...] = ()
    service_role: str = "AliyunIMMDefaultRole"


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """Where completion events are posted: to `url`, unless the task's own UserData names a NotifyAddress.

    With `auth_key` they are signed ("Callback authentication"). An address that is not on loopback
    is only called with `allow_remote`. The service allows three seconds for an answer, and tries
    twice more, a second apart ("Callback events overview").
    """

    url: str | None = None
    auth_key: Secret | None = None
    allow_remote: bool = False
    answer_within: timedelta = timedelta(seconds=3)
    try_again_after: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Behaviour of one simulator. Port 0 takes a free one.

    `workflows`, `templates`, `projects` and `service_roles` None: whatever is named exists.
    Media assets of workflows are checked once the account has one, from `media` or by registration.

    `qps` and `read_qps` bound the accepted calls of StartWorkflow, and of each reading API, in any
    second (None: no bound); `quotas` says it for any API by its name.
    A task is Init for `queue_duration`, then Processing for `task_duration`, then final; editing
    jobs and batches (Ready, Running, final) likewise for `job_duration` and `batch_duration`, by
    default the task's. They are in listings once they are `listing_delay` old. An editing job whose
    output URL, and a batch whose `oss://bucket/prefix`, matches one of `failing` (shell patterns) fails.
    A client token is remembered for `token_lifetime`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    access_key_id: str = "simulator"
    access_key_secret: Secret = field(default_factory=lambda: Secret("simulator-secret"))
    security_token: Secret | None = None
    region: str = "cn-hangzhou"
    user_id: int = 1234567890123456
    workflows: tuple[SimulatedWorkflow, ...] | None = None
    templates: tuple[str, ...] | None = None
    media: tuple[SimulatedMedia, ...] = ()
    quick_jobs: tuple[QuickJob, ...] = ()
    projects: tuple[SimulatedProject, ...] | None = None
    service_roles: tuple[str, ...] | None = None
    qps: int | None = None
    read_qps: int | None = None
    quotas: Mapping[str, int | None] = field(default_factory=dict)
    listing_delay: timedelta = timedelta()
    queue_duration: timedelta = timedelta()
    task_duration: timedelta = timedelta(seconds=1)
    job_duration: timedelta | None = None
    batch_duration: timedelta | None = None
    batch_files: int = 10
    registration_duration: timedelta = timedelta()
    failing: tuple[str, ...] = ()
    token_lifetime: timedelta = timedelta(minutes=10)
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)
    faults: FaultPlan = field(default_factory=FaultPlan)

    def workflow(self, workflow_id: str) -> SimulatedWorkflow | None:
        """Return the workflow of this id, None if the account has none."""
        if self.workflows is None:
            return SimulatedWorkflow(workflow_id)
        return next((each for each in self.workflows if each.workflow_id == workflow_id), None)

    def project(self, name: str) -> SimulatedProject | None:
        """Return the IMM project of this name, None if the account has none."""
        if self.projects is None:
            return SimulatedProject(name)
        return next((each for each in self.projects if each.name == name), None)
