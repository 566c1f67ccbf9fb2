"""Calls that prove a permission and do nothing: reads, and starts that no service can take.

Each start names what cannot exist, or nothing at all: its refusal says that we may call, and nothing begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from dispatcher.core.calls import Api
from dispatcher.core.outcomes import Started
from dispatcher.targets.calling import Answered

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.outcomes import Outcome
    from dispatcher.targets.calling import Caller

NOTHING = "0" * 32
"""An id that nothing has, of the length that the service's ids and client tokens have."""
NO_URL = "oss-dispatcher-check"
"""Text that is no URL, so that nothing can be registered under it."""

_READS: dict[Api, Callable[[Any, Any], Any]] = {
    Api.LIST_WORKFLOW_TASKS: lambda client, models: client.list_workflow_tasks(
        models.ListWorkflowTasksRequest(max_results=1)
    ),
    Api.GET_WORKFLOW_TASK: lambda client, models: client.get_workflow_task(
        models.GetWorkflowTaskRequest(task_id=NOTHING)
    ),
    Api.GET_MEDIA_INFO: lambda client, models: client.get_media_info(models.GetMediaInfoRequest(media_id=NOTHING)),
    Api.LIST_MEDIA_PRODUCING_JOBS: lambda client, models: client.list_media_producing_jobs(
        models.ListMediaProducingJobsRequest(max_results=1)
    ),
    Api.GET_MEDIA_PRODUCING_JOB: lambda client, models: client.get_media_producing_job(
        models.GetMediaProducingJobRequest(job_id=NOTHING)
    ),
    Api.LIST_BATCH_MEDIA_PRODUCING_JOBS: lambda client, models: client.list_batch_media_producing_jobs(
        models.ListBatchMediaProducingJobsRequest(max_results=1)
    ),
}


class PermissionProbe:
    """Asks whether a call is allowed. Thread-safe."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def ask(self, endpoint: Endpoint, api: Api) -> Outcome | None:
        """Return how a harmless call of this API ended, None if it was a read that was answered.

        Never raises. `Started` is the answer of an endpoint that is not the service.
        """
        answer = self._caller.call(endpoint, _call_of(api))
        if not isinstance(answer, Answered):
            return answer
        if api in _READS:
            return None
        names = ("task_id", "job_id", "media_id")
        return Started(next((text for name in names if (text := answer.text(name))), "?"), answer.request_id)


def _call_of(api: Api) -> Callable[[Any, Any], Any]:
    """Return what sends the harmless call with the SDK's client and models."""
    match api:
        case Api.START_WORKFLOW:
            return lambda client, models: client.start_workflow(
                models.StartWorkflowRequest(workflow_id=NOTHING, task_input="{}", user_data="{}")
            )
        case Api.REGISTER_MEDIA_INFO:
            return lambda client, models: client.register_media_info(
                models.RegisterMediaInfoRequest(input_url=NO_URL, client_token=NOTHING)
            )
        case Api.SUBMIT_MEDIA_PRODUCING_JOB:
            # A template that cannot exist, and nowhere to write to.
            return lambda client, models: client.submit_media_producing_job(
                models.SubmitMediaProducingJobRequest(
                    template_id=NOTHING, clips_param="{}", output_media_config="{}", client_token=NO_URL
                )
            )
        case (
            Api.LIST_WORKFLOW_TASKS
            | Api.GET_WORKFLOW_TASK
            | Api.GET_MEDIA_INFO
            | Api.LIST_MEDIA_PRODUCING_JOBS
            | Api.GET_MEDIA_PRODUCING_JOB
            | Api.LIST_BATCH_MEDIA_PRODUCING_JOBS
        ):
            return _READS[api]
        case _:
            assert_never(api)
