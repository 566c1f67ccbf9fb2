"""A job as JSON, its configurations parsed where they are JSON, and as lines for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dispatcher.cli.output import Json, rfc3339
from dispatcher.core.jobs import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.ledger.joining import JoinedRow
    from dispatcher.service.job_listing import ListedJob, ListedQuickJob


def job_json(listed: ListedJob) -> dict[str, Json]:
    """Return an editing job with the ledger's row of it; `dispatch` is null where there is none."""
    job = listed.job
    return {
        "job_id": job.job_id,
        "status": job.status,
        "region": listed.region,
        "created_at": rfc3339(job.created_at),
        "modified_at": rfc3339(job.modified_at),
        "completed_at": rfc3339(job.completed_at),
        "progress": job.progress,
        "duration": job.duration,
        "project_id": job.project_id,
        "template_id": job.template_id,
        "media_id": job.media_id,
        "vod_media_id": job.vod_media_id,
        "media_url": _unsigned(job.media_url),
        "code": job.code,
        "message": job.message,
        "user_data": parsed(job.user_data),
        "clips_param": parsed(job.clips_param),
        "timeline": parsed(job.timeline),
        "sub_job_materials": parsed(job.sub_job_materials),
        "dispatch_id": listed.dispatch_id,
        "dispatch": None if listed.row is None else _row_json(listed.row),
    }


def quick_job_json(listed: ListedQuickJob) -> dict[str, Json]:
    """Return a quick-production job."""
    job = listed.job
    return {
        "job_id": job.job_id,
        "job_type": job.job_type,
        "status": job.status,
        "region": listed.region,
        "created_at": rfc3339(job.created_at),
        "modified_at": rfc3339(job.modified_at),
        "completed_at": rfc3339(job.completed_at),
        "input_config": parsed(job.input_config),
        "editing_config": parsed(job.editing_config),
        "output_config": parsed(job.output_config),
        "extend": parsed(job.extend),
        "user_data": parsed(job.user_data),
    }


def lines_of(record: dict[str, Json]) -> Iterator[str]:
    """Yield a job's lines: what is known of it, one field a line; nested values as indented JSON."""
    width = max(map(len, record))
    for name, value in record.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict | list):
            first, *rest = json.dumps(value, indent=2, ensure_ascii=False).splitlines()
            yield f"{name:<{width}}  {first}"
            yield from (f"{'':<{width}}  {line}" for line in rest)
        else:
            yield f"{name:<{width}}  {value}"


def _row_json(row: JoinedRow) -> dict[str, Json]:
    return {
        "dispatch_id": row.dispatch_id,
        "rule": row.rule,
        "bucket": row.bucket,
        "key": row.key,
        "state": row.state.value,
        "task_id": row.task_id,
    }


def _unsigned(url: str | None) -> str | None:
    """Return the URL without its query, which may be a signature."""
    return None if url is None else url.partition("?")[0]
