"""ListBatchMediaProducingJobs: the listing of quick-production jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.simulator.actions.parameters import Parameters, invalid, one_of, time
from dispatcher.simulator.pages import cut, read_cursor
from dispatcher.simulator.quick import created_at
from dispatcher.simulator.settings import QUICK_STATUSES, QUICK_TYPES
from dispatcher.simulator.times import format_time

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.settings import QuickJob

ORDERS = ("desc", "asc")


def list_quick_jobs(parameters: Parameters, account: Account, _now: datetime) -> dict[str, object]:
    """Return one page of the quick-production jobs, newest first unless SortBy is asc; else raise Refused."""
    cursor = read_cursor(parameters, ascending=one_of(parameters, "SortBy", ORDERS) == "asc")
    job_id = parameters.get("JobId") or None
    job_type = one_of(parameters, "JobType", QUICK_TYPES)
    status = one_of(parameters, "Status", QUICK_STATUSES)
    since, until = time(parameters, "StartTime"), time(parameters, "EndTime")
    if since is not None and until is not None and since > until:
        raise invalid("EndTime", "it lies before StartTime")

    def wanted(job: QuickJob) -> bool:
        created = created_at(job).replace(microsecond=0)
        return (
            (job_id is None or job_id == job.job_id)
            and (job_type is None or job_type == job.job_type)
            and (status is None or status == job.status)
            and (since is None or created >= since)
            and (until is None or created <= until)
        )

    page = cut(account.quick.jobs(), cursor, wanted)
    jobs = [_fields(job) for job in page.items]
    return {"MaxResults": cursor.size, "NextToken": page.next_token, "EditingBatchJobList": jobs}


def _fields(job: QuickJob) -> dict[str, str]:
    created = created_at(job)
    fields = {
        "JobId": job.job_id,
        "JobType": job.job_type,
        "Status": job.status,
        "UserData": job.user_data,
        "InputConfig": job.input_config,
        "EditingConfig": job.editing_config,
        "OutputConfig": job.output_config,
        "Extend": job.extend,
        "CreateTime": format_time(created),
        "ModifiedTime": format_time(job.modified_at or job.completed_at or created),
    }
    if job.completed_at is not None:
        fields["CompleteTime"] = format_time(job.completed_at)
    return fields
