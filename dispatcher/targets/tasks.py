"""The service's own list of tasks: the evidence by which unanswered calls are settled."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from dispatcher.core.calls import Api, ServiceTask
from dispatcher.targets.reading import PAGE_SIZE, Reader, UnknownIdError, format_time, malformed, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.calls import Endpoint, TaskQuery
    from dispatcher.targets.alibaba import AlibabaClients


def no_wait(_endpoint: Endpoint, _api: Api) -> None:
    """Let every read pass at once."""


class AlibabaTasks:
    """Reads tasks through the official SDK. Implements `ports.Tasks`; thread-safe.

    A page that is throttled, refused by a server error or lost on the way is read again, twice at
    most, after a wait by `pause` (seconds); reads change nothing. `before_read` is called before
    each request, so that a caller can spend its quota of reads page by page; it may block or raise.
    """

    def __init__(
        self,
        clients: AlibabaClients,
        *,
        before_read: Callable[[Endpoint, Api], None] = no_wait,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._reader = Reader(clients, pause=pause)
        self._before_read = before_read

    def list_tasks(self, query: TaskQuery) -> Iterator[ServiceTask]:
        """Yield every task of the query, all pages; a page is read when the one before is used up.

        Times travel in whole seconds: the window is widened to them. The service lists the last 90
        days. Raises CredentialsError or ServiceUnavailableError if any page fails or is malformed.
        """
        for body in self._reader.pages(query.endpoint, Api.LIST_WORKFLOW_TASKS, partial(self._page, query)):
            yield from [_task(each, query.endpoint) for each in body.task_list or []]

    def get_task(self, endpoint: Endpoint, task_id: str) -> ServiceTask | None:
        """Return one task with its results, None if the service does not know it.

        Raises CredentialsError or ServiceUnavailableError if the service does not say.
        """

        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.get_workflow_task(models.GetWorkflowTaskRequest(task_id=task_id))

        try:
            body = self._read(endpoint, Api.GET_WORKFLOW_TASK, read)
        except UnknownIdError:
            return None
        task = body.workflow_task
        return None if task is None else _task(task, endpoint, activity_results=task.activity_results)

    def _page(self, query: TaskQuery, token: str | None) -> Any:  # noqa: ANN401 - the SDK ships no types
        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.list_workflow_tasks(
                models.ListWorkflowTasksRequest(
                    workflow_id=query.workflow_id or None,
                    start_of_create_time=format_time(query.since),
                    end_of_create_time=format_time(query.until + timedelta(seconds=1, microseconds=-1)),
                    max_results=PAGE_SIZE,
                    next_token=token,
                )
            )

        return self._read(query.endpoint, Api.LIST_WORKFLOW_TASKS, read)

    def _read(self, endpoint: Endpoint, api: Api, read: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401 - the SDK ships no types
        return self._reader.read(endpoint, api, read, before=lambda: self._before_read(endpoint, api))


def _task(task: Any, endpoint: Endpoint, activity_results: str | None = None) -> ServiceTask:  # noqa: ANN401 - the SDK ships no types
    if not isinstance(task.task_id, str) or not task.task_id:
        raise malformed(Api.LIST_WORKFLOW_TASKS, endpoint, "it lists a task without an id")
    return ServiceTask(
        task_id=task.task_id,
        workflow_id=(task.workflow.workflow_id if task.workflow else None) or "",
        status=task.status or "",
        task_input=task.task_input or "",
        user_data=task.user_data or "",
        created_at=parse_time(task.create_time),
        finished_at=parse_time(task.finish_time),
        activity_results=activity_results,
    )
