"""What the simulator is told at start: who may call it, which workflows it knows, how it behaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from dispatcher.core.settings import Secret
from dispatcher.simulator.faults import FaultPlan


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
class SimulatorSettings:
    """Behaviour of one simulator. Port 0 takes a free one.

    `workflows` None: every id is a workflow that takes any input. `qps` and `read_qps` bound the
    accepted calls of StartWorkflow, and of each reading API, in any second (None: no bound).
    A task is Init for `queue_duration`, then Processing for `task_duration`, then final; it is in
    listings once it is `listing_delay` old.
    """

    host: str = "127.0.0.1"
    port: int = 0
    access_key_id: str = "simulator"
    access_key_secret: Secret = field(default_factory=lambda: Secret("simulator-secret"))
    security_token: Secret | None = None
    region: str = "cn-hangzhou"
    workflows: tuple[SimulatedWorkflow, ...] | None = None
    qps: int | None = None
    read_qps: int | None = None
    listing_delay: timedelta = timedelta()
    queue_duration: timedelta = timedelta()
    task_duration: timedelta = timedelta(seconds=1)
    faults: FaultPlan = field(default_factory=FaultPlan)

    def workflow(self, workflow_id: str) -> SimulatedWorkflow | None:
        """Return the workflow of this id, None if the account has none."""
        if self.workflows is None:
            return SimulatedWorkflow(workflow_id)
        return next((each for each in self.workflows if each.workflow_id == workflow_id), None)
