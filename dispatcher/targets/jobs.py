"""The service's lists of jobs: editing jobs, and quick-production jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dispatcher.core.calls import Api
from dispatcher.core.jobs import EditingJob, Order, QuickJob, whole_second
from dispatcher.targets.reading import Reader, UnknownIdError, format_time, malformed, parse_time
from dispatcher.targets.tasks import no_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.jobs import JobFilter, QuickJobFilter, Window
    from dispatcher.targets.alibaba import AlibabaClients

_SORT_BY = {Order.ASC: "CreationTime:Asc", Order.DESC: "CreationTime:Desc"}
_QUICK_SORT_BY = {Order.ASC: "asc", Order.DESC: "desc"}


class AlibabaJobs:
    """Reads jobs through the official SDK. Thread-safe.

    Pages are read when they are needed, and again where that may help (`Reader`). `before_read` is called
    before each request, so that a caller can spend its quota of reads; it may block or raise. Every function
    raises CredentialsError or ServiceUnavailableError if the service does not say.
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

    def _read(self, endpoint: Endpoint, api: Api, call: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401 - the SDK ships no types
        return self._reader.read(endpoint, api, call, before=lambda: self._before_read(endpoint, api))

    def list_jobs(self, endpoint: Endpoint, asked: JobFilter, window: Window) -> Iterator[EditingJob]:
        """Yield the editing jobs of one window (ListMediaProducingJobs), all pages."""

        def page(token: str | None) -> Any:  # noqa: ANN401 - the SDK ships no types
            def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
                return client.list_media_producing_jobs(
                    models.ListMediaProducingJobsRequest(
                        start_time=format_time(window.since),
                        end_time=format_time(whole_second(window.until, up=True)),
                        job_type=asked.job_type,
                        status=asked.status,
                        keyword=asked.keyword,
                        project_id=asked.project_id,
                        master_job_id=asked.master_job_id,
                        sort_by=_SORT_BY[asked.order],
                        max_results=asked.page_size,
                        next_token=token,
                    )
                )

            return self._read(endpoint, Api.LIST_MEDIA_PRODUCING_JOBS, read)

        for body in self._reader.pages(endpoint, Api.LIST_MEDIA_PRODUCING_JOBS, page):
            for each in body.media_producing_job_list or []:
                yield _editing_job(each, Api.LIST_MEDIA_PRODUCING_JOBS, endpoint)

    def get_job(self, endpoint: Endpoint, job_id: str) -> EditingJob | None:
        """Return one editing job with everything that is told of it, None if the service does not know it."""

        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            return client.get_media_producing_job(models.GetMediaProducingJobRequest(job_id=job_id))

        try:
            job = self._read(endpoint, Api.GET_MEDIA_PRODUCING_JOB, read).media_producing_job
        except UnknownIdError:
            return None
        return None if job is None else _editing_job(job, Api.GET_MEDIA_PRODUCING_JOB, endpoint)

    def list_quick_jobs(self, endpoint: Endpoint, asked: QuickJobFilter) -> Iterator[QuickJob]:
        """Yield the quick-production jobs (ListBatchMediaProducingJobs), all pages."""

        def page(token: str | None) -> Any:  # noqa: ANN401 - the SDK ships no types
            def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
                return client.list_batch_media_producing_jobs(
                    models.ListBatchMediaProducingJobsRequest(
                        job_id=asked.job_id,
                        job_type=asked.job_type,
                        status=asked.status,
                        start_time=_sent_time(asked.since),
                        end_time=_sent_time(asked.until, up=True),
                        sort_by=_QUICK_SORT_BY[asked.order],
                        max_results=asked.page_size,
                        next_token=token,
                    )
                )

            return self._read(endpoint, Api.LIST_BATCH_MEDIA_PRODUCING_JOBS, read)

        for body in self._reader.pages(endpoint, Api.LIST_BATCH_MEDIA_PRODUCING_JOBS, page):
            yield from [_quick_job(each, endpoint) for each in body.editing_batch_job_list or []]


def _sent_time(at: datetime | None, *, up: bool = False) -> str | None:
    return None if at is None else format_time(whole_second(at, up=up))


def _editing_job(job: Any, api: Api, endpoint: Endpoint) -> EditingJob:  # noqa: ANN401 - the SDK ships no types
    _check_id(job, api, endpoint)
    told: dict[str, Any] = {
        name: getattr(job, name, None) for name in ("timeline", "vod_media_id", "progress", "sub_job_materials")
    }
    return EditingJob(
        job_id=job.job_id,
        status=job.status or "",
        user_data=job.user_data,
        project_id=job.project_id,
        template_id=job.template_id,
        clips_param=job.clips_param,
        media_id=job.media_id,
        media_url=job.media_url,
        duration=job.duration,
        code=job.code,
        message=job.message,
        created_at=parse_time(job.create_time),
        modified_at=parse_time(job.modified_time),
        completed_at=parse_time(job.complete_time),
        **told,
    )


def _quick_job(job: Any, endpoint: Endpoint) -> QuickJob:  # noqa: ANN401 - the SDK ships no types
    _check_id(job, Api.LIST_BATCH_MEDIA_PRODUCING_JOBS, endpoint)
    return QuickJob(
        job_id=job.job_id,
        job_type=job.job_type,
        status=job.status or "",
        input_config=job.input_config,
        editing_config=job.editing_config,
        output_config=job.output_config,
        extend=job.extend,
        user_data=job.user_data,
        created_at=parse_time(job.create_time),
        modified_at=parse_time(job.modified_time),
        completed_at=parse_time(job.complete_time),
    )


def _check_id(job: Any, api: Api, endpoint: Endpoint) -> None:  # noqa: ANN401 - the SDK ships no types
    if not isinstance(job.job_id, str) or not job.job_id:
        raise malformed(api, endpoint, "it tells of a job without an id")
