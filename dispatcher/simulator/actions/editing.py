"""SubmitMediaProducingJob, GetMediaProducingJob and ListMediaProducingJobs."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.simulator.actions.output import check_output, check_tracks
from dispatcher.simulator.actions.parameters import (
    Parameters,
    invalid,
    json_object,
    one_of,
    required,
    time,
    user_data,
)
from dispatcher.simulator.jobs import JobFilter, JobStatus
from dispatcher.simulator.pages import read_cursor
from dispatcher.simulator.signature import Refused
from dispatcher.simulator.times import format_time

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.jobs import JobView

TOKEN_LENGTH = 64
SOURCES = ("OpenAPI", "AliyunConsole", "WebSDK")
JOB_TYPES = ("EditingJob", "LiveEditingJob", "VETemplateJob")
ORDERS = ("CreationTime:Desc", "CreationTime:Asc")
WINDOW = timedelta(days=30)
KEPT = timedelta(days=365)


def submit_job(parameters: Parameters, account: Account, _now: datetime) -> dict[str, str]:
    """Return the ids of a job that may begin, else raise Refused."""
    given = [name for name in ("TemplateId", "ProjectId", "Timeline") if parameters.get(name)]
    if len(given) != 1:
        raise invalid("Timeline", "exactly one of TemplateId, ProjectId and Timeline must be given")
    if "TemplateId" in given:
        required(parameters, "ClipsParam")
        templates = account.settings.templates
        if templates is not None and parameters["TemplateId"] not in templates:
            raise Refused(404, "InvalidTemplate.NotFound", f"The template {parameters['TemplateId']} does not exist.")
    check_tracks(json_object(parameters, "Timeline"))
    for name in ("ClipsParam", "EditingProduceConfig", "MediaMetadata", "ProjectMetadata"):
        json_object(parameters, name)
    target = check_output(parameters, account.settings.region)
    one_of(parameters, "Source", SOURCES)
    user_data(parameters)
    return {
        "JobId": uuid.uuid4().hex,
        "MediaId": uuid.uuid4().hex,
        "ProjectId": parameters.get("ProjectId") or uuid.uuid4().hex,
        "VodMediaId": uuid.uuid4().hex if target == "vod-media" else "",
    }


def check_token(token: str) -> None:
    """Raise Refused unless the token is ASCII, of at most 64 characters."""
    if not token.isascii() or len(token) > TOKEN_LENGTH:
        raise invalid("ClientToken", f"it may have {TOKEN_LENGTH} ASCII characters")


def get_job(parameters: Parameters, account: Account, now: datetime) -> dict[str, object]:
    """Return the answer of GetMediaProducingJob, else raise Refused. Jobs can be asked for within a year."""
    view = account.jobs.get(required(parameters, "JobId"), now)
    if view is None or now - view.call.at > KEPT:
        raise Refused(404, "InvalidJobId.NotFound", "The job does not exist.")
    sent = view.call.parameters
    more = {
        "Progress": 100 if view.finished_at else 0,
        "SubJobMaterials": "",
        "Timeline": sent.get("Timeline", ""),
        "VodMediaId": view.call.answer["VodMediaId"],
    }
    return {"MediaProducingJob": _job_fields(view) | more}


def list_jobs(parameters: Parameters, account: Account, now: datetime) -> dict[str, object]:
    """Return one page of ListMediaProducingJobs, newest first unless SortBy says otherwise; else raise Refused."""
    ascending = one_of(parameters, "SortBy", ORDERS) == "CreationTime:Asc"
    cursor = read_cursor(parameters, ascending=ascending)
    wanted = _filter(parameters, now)
    # Every simulated job is a plain editing job of no quick-production job.
    none = one_of(parameters, "JobType", JOB_TYPES) not in (None, "EditingJob") or parameters.get("MasterJobId")
    page = account.jobs.page(wanted, cursor, now)
    jobs = [] if none else [_job_fields(view) for view in page.items]
    return {
        "MaxResults": cursor.size,
        "NextToken": "" if none else page.next_token,
        "MediaProducingJobList": jobs,
    }


def _filter(parameters: Parameters, now: datetime) -> JobFilter:
    since, until = time(parameters, "StartTime"), time(parameters, "EndTime")
    if since is not None:
        window = (until or now) - since
        if window < timedelta() and until is not None:
            raise invalid("EndTime", "it lies before StartTime")
        if window > WINDOW:
            raise invalid("StartTime", "it may lie 30 days before EndTime at most")
    elif until is not None:
        since = until - WINDOW
    status = one_of(parameters, "Status", list(JobStatus))
    return JobFilter(
        status=None if status is None else JobStatus(status),
        keyword=parameters.get("Keyword") or None,
        project_id=parameters.get("ProjectId") or None,
        since=since,
        until=until,
    )


def _job_fields(view: JobView) -> dict[str, object]:
    sent, answer = view.call.parameters, view.call.answer
    code, message = view.error or ("", "")
    fields: dict[str, object] = {
        "JobId": view.job_id,
        "ProjectId": answer["ProjectId"],
        "MediaId": answer["MediaId"],
        "MediaURL": view.output_url,
        "TemplateId": sent.get("TemplateId", ""),
        "ClipsParam": sent.get("ClipsParam", ""),
        "Status": str(view.status),
        "Code": code,
        "Message": message,
        "UserData": sent.get("UserData", ""),
        "CreateTime": format_time(view.call.at),
        "ModifiedTime": format_time(view.modified_at),
    }
    if view.finished_at is not None:
        fields["CompleteTime"] = format_time(view.finished_at)
    if view.status is JobStatus.SUCCESS:
        fields["Duration"] = 12.5
    return fields
