"""Reading IMM: its batches, its projects, and to which project a bucket is bound; and stopping a batch for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dispatcher.core.batches import Batch, BatchAction, FastFail, ImmApi, Project, selector_of
from dispatcher.targets.alibaba import Product
from dispatcher.targets.reading import Reader, UnknownIdError, malformed, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.batches import BatchQuery
    from dispatcher.core.calls import Endpoint
    from dispatcher.targets.alibaba import AlibabaClients


class AlibabaBatches:
    """Reads IMM through its official SDK, and suspends and resumes batches. Thread-safe.

    What may be repeated is repeated in place (`Reader`). Every function raises CredentialsError or
    ServiceUnavailableError if the service does not say, ConfigError if its SDK is not installed.
    """

    def __init__(self, clients: AlibabaClients, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._reader = Reader(clients, Product.IMM, pause=pause)

    def list_batches(self, query: BatchQuery) -> Iterator[Batch]:
        """Yield the batches of a project, all pages; a page is read when the one before is used up."""

        def page(token: str | None) -> Any:  # noqa: ANN401 - the SDK ships no types
            def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
                return client.list_batches(
                    models.ListBatchesRequest(
                        project_name=query.project,
                        state=query.state,
                        sort=query.sort,
                        order=query.order,
                        tag_selector=None if query.tag is None else selector_of(query.tag),
                        max_results=query.page_size,
                        next_token=token,
                    )
                )

            return self._reader.read(query.endpoint, ImmApi.LIST_BATCHES, read)

        for body in self._reader.pages(query.endpoint, ImmApi.LIST_BATCHES, page):
            yield from [_batch(each, ImmApi.LIST_BATCHES, query.endpoint) for each in body.batches or []]

    def get_batch(self, endpoint: Endpoint, project: str, batch_id: str) -> Batch | None:
        """Return one batch, None if the service does not know it."""

        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.get_batch(models.GetBatchRequest(project_name=project, id=batch_id))

        try:
            batch = self._reader.read(endpoint, ImmApi.GET_BATCH, read).batch
        except UnknownIdError:
            return None
        return None if batch is None else _batch(batch, ImmApi.GET_BATCH, endpoint)

    def suspend(self, endpoint: Endpoint, project: str, batch_id: str) -> None:
        """Stop a batch from submitting more tasks; those that it submitted go on. Repeated where that may help."""

        def call(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.suspend_batch(models.SuspendBatchRequest(project_name=project, id=batch_id))

        self._reader.read(endpoint, ImmApi.SUSPEND_BATCH, call)

    def resume(self, endpoint: Endpoint, project: str, batch_id: str) -> None:
        """Let a suspended batch go on. Repeated where that may help."""

        def call(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.resume_batch(models.ResumeBatchRequest(project_name=project, id=batch_id))

        self._reader.read(endpoint, ImmApi.RESUME_BATCH, call)

    def get_project(self, endpoint: Endpoint, project: str) -> Project | None:
        """Return a project, None if there is none of this name."""

        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.get_project(models.GetProjectRequest(project_name=project))

        try:
            found = self._reader.read(endpoint, ImmApi.GET_PROJECT, read).project
        except UnknownIdError:
            return None
        return None if found is None else Project(found.project_name or project, found.service_role or None)

    def bound_project(self, endpoint: Endpoint, bucket: str) -> str | None:
        """Return the project that a bucket is bound to, None if it is bound to none."""

        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.get_ossbucket_attachment(models.GetOSSBucketAttachmentRequest(ossbucket=bucket))

        try:
            body = self._reader.read(endpoint, ImmApi.GET_ATTACHMENT, read)
        except UnknownIdError:
            return None
        return body.project_name or None


def _batch(batch: Any, api: ImmApi, endpoint: Endpoint) -> Batch:  # noqa: ANN401 - the SDK ships no types
    if not isinstance(batch.id, str) or not batch.id:
        raise malformed(api, endpoint, "it tells of a batch without an id")
    place = batch.input.oss if batch.input is not None else None
    counts = batch.statistic
    return Batch(
        batch_id=batch.id,
        state=batch.state or "",
        phase=batch.phase,
        marker=batch.marker,
        error=batch.error,
        bucket=place and place.bucket,
        prefix=place and place.prefix,
        match_expressions=tuple((place and place.match_expressions) or ()),
        actions=tuple(_action(each) for each in batch.actions or []),
        service_role=batch.service_role,
        topic=_topic(batch.notification),
        tags={str(name): str(value) for name, value in (batch.tags or {}).items()},
        submitted=counts and counts.submit_success,
        failed=counts and counts.submit_failure,
        skipped=counts and counts.skip_files,
        created_at=parse_time(batch.create_time),
        updated_at=parse_time(batch.update_time),
    )


def _action(action: Any) -> BatchAction:  # noqa: ANN401 - the SDK ships no types
    written = action.fast_fail_policy.action if action.fast_fail_policy is not None else None
    policy = FastFail(written) if written in tuple(FastFail) else None
    return BatchAction(action.name or "", tuple(action.parameters or ()), policy)


def _topic(notification: Any) -> str | None:  # noqa: ANN401 - the SDK ships no types
    if notification is None:
        return None
    topic = notification.mns.topic_name if notification.mns is not None else notification.topic
    return topic if isinstance(topic, str) else None
