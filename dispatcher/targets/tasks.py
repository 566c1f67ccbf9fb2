"""The service's own list of tasks: the evidence by which unanswered calls are settled."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_never

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from dispatcher.core.calls import Api, ServiceTask
from dispatcher.core.outcomes import NotSent, Outcome, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.errors import CredentialsError, DispatcherError, ServiceUnavailableError
from dispatcher.targets.answers import outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.calls import Endpoint, TaskQuery
    from dispatcher.targets.alibaba import AlibabaClients

PAGE_SIZE = 100
TRIES = 3
_NOT_FOUND = 404


def no_wait(_endpoint: Endpoint, _api: Api) -> None:
    """Let every read pass at once."""


class _UnknownTaskError(Exception):
    """The service says that it does not know the task."""


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
        self._clients = clients
        self._before_read = before_read
        self._pause = pause

    def list_tasks(self, query: TaskQuery) -> Iterator[ServiceTask]:
        """Yield every task of the query, all pages; a page is read when the one before is used up.

        Times travel in whole seconds: the window is widened to them. The service lists the last 90
        days. Raises CredentialsError or ServiceUnavailableError if any page fails or is malformed.
        """
        seen: set[str] = set()
        token: str | None = None
        while True:
            body = self._page(query, token)
            yield from [_task(each, query.endpoint) for each in body.task_list or []]
            token = body.next_token
            if not token:
                return
            if token in seen:
                raise _malformed(Api.LIST_WORKFLOW_TASKS, query.endpoint, "its pages go round in a circle")
            seen.add(token)

    def get_task(self, endpoint: Endpoint, task_id: str) -> ServiceTask | None:
        """Return one task with its results, None if the service does not know it.

        Raises CredentialsError or ServiceUnavailableError if the service does not say.
        """

        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.get_workflow_task(models.GetWorkflowTaskRequest(task_id=task_id))

        try:
            body = self._read(endpoint, Api.GET_WORKFLOW_TASK, read)
        except _UnknownTaskError:
            return None
        task = body.workflow_task
        return None if task is None else _task(task, endpoint, activity_results=task.activity_results)

    def _page(self, query: TaskQuery, token: str | None) -> Any:  # noqa: ANN401 - the SDK ships no types
        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.list_workflow_tasks(
                models.ListWorkflowTasksRequest(
                    workflow_id=query.workflow_id,
                    start_of_create_time=_format_time(query.since),
                    end_of_create_time=_format_time(query.until + timedelta(seconds=1, microseconds=-1)),
                    max_results=PAGE_SIZE,
                    next_token=token,
                )
            )

        return self._read(query.endpoint, Api.LIST_WORKFLOW_TASKS, read)

    def _read(self, endpoint: Endpoint, api: Api, read: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401 - the SDK ships no types
        """Return the body of a read, repeated in place where that may help."""
        retrying = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            retry=retry_if_exception(lambda error: isinstance(error, _PassingError)),
            sleep=self._pause,
            reraise=True,
        )
        return retrying(self._read_once, endpoint, api, read)

    def _read_once(self, endpoint: Endpoint, api: Api, read: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401 - the SDK ships no types
        self._before_read(endpoint, api)
        try:
            client = self._clients.client(endpoint)
            from alibabacloud_ice20201109 import models  # noqa: PLC0415 - heavy: only where calls are made

            answer = read(client, models)
        except DispatcherError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK raises what it likes; all of it is mapped here
            if api is Api.GET_WORKFLOW_TASK and _is_not_found(error):
                raise _UnknownTaskError from None
            raise _as_error(outcome_of(error, frozenset()), api, endpoint) from None
        body = answer.body
        # `{}` must not pass for an empty listing: that would be proof of an absence.
        if getattr(body, "request_id", None) is None:
            raise _malformed(api, endpoint, "it carries no RequestId")
        return body


class _PassingError(ServiceUnavailableError):
    """A failure that a second try may not meet."""


def _as_error(outcome: Outcome, api: Api, endpoint: Endpoint) -> DispatcherError:
    """Return the error of a read that ended so."""
    where = f"{api} at {endpoint.url}"
    match outcome:
        case Unauthorized(code=code, message=message):
            return CredentialsError(
                f"{where} is refused: {code} {message}".rstrip(),
                hint=f"let the credentials of this program call ice:{api}, and see whether the account is in arrears",
            )
        case Throttled(code=code):
            return _PassingError(f"{where} is throttled: {code}", hint="it is tried again later; nothing is lost")
        case NotSent(reason=reason):
            return _PassingError(
                f"{where} cannot be reached: {reason}", hint="check the endpoint, the network and the proxy settings"
            )
        case Uncertain(reason=reason, message=message):
            return _PassingError(
                f"{where} gave no usable answer: {reason} {message}".rstrip(), hint="it is tried again later"
            )
        case Rejected(code=code, message=message):
            return ServiceUnavailableError(
                f"{where} is rejected: {code} {message}".rstrip(),
                hint="check the workflow id and the region; only tasks of the last 90 days are listed",
            )
        case Started():
            return ServiceUnavailableError(f"{where} gave an answer to another call", hint="report this")
        case _:
            assert_never(outcome)


def _is_not_found(error: Exception) -> bool:
    """Whether the service answered that the task does not exist (and not that our key does not)."""
    outcome = outcome_of(error, frozenset())
    if not isinstance(outcome, Rejected):
        return False
    return getattr(error, "status_code", None) == _NOT_FOUND or "notfound" in outcome.code.lower().replace("_", "")


def _malformed(api: Api, endpoint: Endpoint, reason: str) -> ServiceUnavailableError:
    return _PassingError(
        f"the answer of {api} at {endpoint.url} cannot be used: {reason}",
        hint="check that the endpoint is that of IMS, and that no proxy answers in its place",
    )


def _task(task: Any, endpoint: Endpoint, activity_results: str | None = None) -> ServiceTask:  # noqa: ANN401 - the SDK ships no types
    if not isinstance(task.task_id, str) or not task.task_id:
        raise _malformed(Api.LIST_WORKFLOW_TASKS, endpoint, "it lists a task without an id")
    return ServiceTask(
        task_id=task.task_id,
        workflow_id=(task.workflow.workflow_id if task.workflow else None) or "",
        status=task.status or "",
        task_input=task.task_input or "",
        user_data=task.user_data or "",
        created_at=_parse_time(task.create_time),
        finished_at=_parse_time(task.finish_time),
        activity_results=activity_results,
    )


def _format_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse_time(text: object) -> datetime | None:
    """Return the time of an answer (ISO 8601, UTC), None where there is none that can be read."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
