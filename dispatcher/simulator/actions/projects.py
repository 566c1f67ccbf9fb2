"""IMM's projects and the buckets bound to them: GetProject, GetOSSBucketAttachment, ListAttachedOSSBuckets.

Where the settings name no projects, every project exists and no bucket is bound to any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.simulator.actions.batches import check_project
from dispatcher.simulator.actions.parameters import Parameters, boolean, required
from dispatcher.simulator.media import SEEDED_AT
from dispatcher.simulator.pages import cut, read_cursor
from dispatcher.simulator.signature import Refused
from dispatcher.simulator.times import format_nanos

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.simulator.account import Account

MOST_ATTACHED = 200


def get_project(parameters: Parameters, account: Account, _now: datetime) -> dict[str, object]:
    """Return the answer of GetProject, else raise Refused."""
    boolean(parameters, "WithStatistics")
    name = check_project(parameters, account)
    project = account.settings.project(name)
    return {
        "Project": {
            "ProjectName": name,
            "ServiceRole": "" if project is None else project.service_role,
            "CreateTime": format_nanos(SEEDED_AT),
            "UpdateTime": format_nanos(SEEDED_AT),
            "ProjectQueriesPerSecond": 100,
            "EngineConcurrency": 100,
            "DatasetCount": 0,
            "FileCount": 0,
            "TotalFileSize": 0,
        }
    }


def get_attachment(parameters: Parameters, account: Account, _now: datetime) -> dict[str, object]:
    """Return the project that a bucket is bound to, else raise Refused."""
    bucket = required(parameters, "OSSBucket")
    for project in account.settings.projects or ():
        if bucket in project.buckets:
            at = format_nanos(SEEDED_AT)
            return {"ProjectName": project.name, "Description": "", "CreateTime": at, "UpdateTime": at}
    raise Refused(404, "ResourceNotFound", f"The bucket {bucket} is not bound to a project.")


def list_attached(parameters: Parameters, account: Account, _now: datetime) -> dict[str, object]:
    """Return one page of the buckets that are bound to a project, else raise Refused."""
    name = check_project(parameters, account)
    cursor = read_cursor(parameters, default=100, most=MOST_ATTACHED, ascending=True)
    page = cut(account.buckets_of(name), cursor, lambda _: True)
    at = format_nanos(SEEDED_AT)
    buckets = [
        {
            "OSSBucket": bucket,
            "ProjectName": name,
            "OwnerId": str(account.settings.user_id),
            "Description": "",
            "CreateTime": at,
            "UpdateTime": at,
        }
        for bucket in page.items
    ]
    return {"NextToken": page.next_token, "AttachedOSSBuckets": buckets}
