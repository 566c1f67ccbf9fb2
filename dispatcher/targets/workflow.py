"""The StartWorkflow target: one call, one HTTP request, one Outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.core.outcomes import Outcome, Started, Uncertain
from dispatcher.targets.answers import outcome_of, safe_text

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from dispatcher.core.calls import WorkflowCall
    from dispatcher.targets.alibaba import AlibabaClients


class WorkflowTarget:
    """Makes StartWorkflow calls through the official SDK. Implements `ports.Target`; thread-safe.

    `not_started_codes` are codes of server errors which the operator knows to mean "not started".
    """

    def __init__(self, clients: AlibabaClients, *, not_started_codes: AbstractSet[str] = frozenset()) -> None:
        self._clients = clients
        self._not_started_codes = not_started_codes

    def start(self, call: WorkflowCall) -> Outcome:
        """Make the call once, without retries, within the configured time-out. Never raises."""
        try:
            client = self._clients.client(call.endpoint)
            from alibabacloud_ice20201109 import models  # noqa: PLC0415 - heavy: only where calls are made

            answer = client.start_workflow(
                models.StartWorkflowRequest(
                    workflow_id=call.workflow_id,
                    task_input=call.task_input,
                    user_data=call.user_data or None,
                    skip_input_verification=call.skip_input_verification or None,
                )
            )
        except Exception as error:  # noqa: BLE001 - the contract: every end is an Outcome
            return outcome_of(error, self._not_started_codes)
        body = answer.body
        task_id = getattr(body, "task_id", None)
        request_id = getattr(body, "request_id", None)
        request_id = request_id if isinstance(request_id, str) else None
        if not isinstance(task_id, str) or not task_id:
            return Uncertain("answer without a task id", safe_text("HTTP 200, but no TaskId in it"), request_id)
        return Started(task_id, request_id)
