"""StartWorkflow: one call, one HTTP request, one Outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatcher.core.outcomes import Outcome, Started
from dispatcher.targets.calling import Answered

if TYPE_CHECKING:
    from dispatcher.core.calls import WorkflowCall
    from dispatcher.targets.calling import Caller


def start_workflow(caller: Caller, call: WorkflowCall) -> Outcome:
    """Make the call once. Never raises. StartWorkflow has no client token: no answer means unknown."""

    def send(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
        return client.start_workflow(
            models.StartWorkflowRequest(
                workflow_id=call.workflow_id,
                task_input=call.task_input,
                user_data=call.user_data or None,
                skip_input_verification=call.skip_input_verification or None,
            )
        )

    ended = caller.call(call.endpoint, send)
    if not isinstance(ended, Answered):
        return ended
    task_id = ended.text("task_id")
    return ended.without("task id") if task_id is None else Started(task_id, ended.request_id)
