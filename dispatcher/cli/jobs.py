"""`jobs`: editing jobs with the ledger's rows, and, with `--quick`, quick-production jobs."""

from contextlib import closing, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.ledgers import now
from dispatcher.cli.output import Format, brief_time, print_document, print_line, print_records, print_table
from dispatcher.core.jobs import (
    PAGE_LIMIT,
    JobFilter,
    JobStatus,
    JobType,
    Order,
    QuickJobFilter,
    QuickJobStatus,
    QuickJobType,
    read_choice,
)
from dispatcher.core.selecting import parse_time
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.jobs import EditingJob
    from dispatcher.core.settings import Settings
    from dispatcher.service.job_listing import JobListing, ListedJob, ListedQuickJob

app = typer.Typer(help="Jobs as the service knows them, with our rows.", no_args_is_help=True)

Quick = Annotated[
    bool, typer.Option("--quick", help="Quick-production jobs (ListBatchMediaProducingJobs), not editing jobs.")
]
Region = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="Only this region; default: those of the rules.")
]


@app.command("list")
def list_(  # noqa: PLR0913 - one parameter for each filter of the two calls
    ctx: typer.Context,
    *,
    quick: Quick = False,
    job_id: Annotated[
        str | None, typer.Option("--id", "--job-id", metavar="ID", help="The job of this id; only with --quick.")
    ] = None,
    job_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help=f"Of this type: {', '.join(JobType)}; with --quick: {', '.join(QuickJobType)}.",
        ),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            "--state",
            metavar="STATUS",
            help=f"In this state: {', '.join(JobStatus)}; with --quick: {', '.join(QuickJobStatus)}.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="Created since: 24h, 2026-01-31, or RFC 3339; default: 30 days ago."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Created until: as --since.")] = None,
    sort: Annotated[Order, typer.Option("--sort", help="By creation time.")] = Order.DESC,
    keyword: Annotated[
        str | None, typer.Option("--keyword", metavar="TEXT", help="As the service searches, for example a job id.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", metavar="ID", help="Of this editing project.")] = None,
    master: Annotated[
        str | None, typer.Option("--master", metavar="ID", help="Sub-jobs of this quick-production job.")
    ] = None,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=PAGE_LIMIT, metavar="N", help="Jobs of one request, 1 to 100.")
    ] = PAGE_LIMIT,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many; default: all pages.")
    ] = None,
    region: Region = None,
) -> None:
    """List jobs, all pages, the newest first: editing jobs of the last 30 days, or quick-production jobs."""
    asked = invocation(ctx)
    at = now()
    start = None if since is None else parse_time(since, "--since", at)
    end = None if until is None else parse_time(until, "--until", at)
    if quick:
        _refuse_others("with --quick", {"--keyword": keyword, "--project": project, "--master": master})
        kind = None if job_type is None else read_choice(QuickJobType, job_type, "--type")
        state = None if status is None else read_choice(QuickJobStatus, status, "--status")
        wanted = QuickJobFilter(job_id, kind, state, start, end, sort, page_size)
        with _listing(asked.settings(), region, at) as listing:
            _print_quick_jobs(asked, listing.quick(wanted, limit))
    else:
        _refuse_others("without --quick (for one editing job: jobs show ID)", {"--id": job_id})
        asked_for = JobFilter(
            None if job_type is None else read_choice(JobType, job_type, "--type"),
            None if status is None else read_choice(JobStatus, status, "--status"),
            keyword,
            project,
            master,
            sort,
            page_size,
        )
        settings = asked.settings()
        with _listing(settings, region, at) as listing, _joining(settings, asked) as joined:
            _print_jobs(asked, joined(listing.editing(asked_for, start, end, limit)))


@app.command()
def show(
    ctx: typer.Context,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    *,
    quick: Quick = False,
    region: Region = None,
) -> None:
    """Show everything that the service tells of one job, its configurations as JSON."""
    from dispatcher.cli.job_showing import job_json, quick_job_json  # noqa: PLC0415

    asked = invocation(ctx)
    settings = asked.settings()
    with _listing(settings, region, now()) as listing, _joining(settings, asked) as joined:
        if quick:
            records = [quick_job_json(each) for each in listing.quick(QuickJobFilter(job_id), None)]
        else:
            found = listing.one(job_id)
            records = [job_json(each) for each in joined(iter([found] if found is not None else []))]
    if not records:
        other = "" if quick else "; quick-production jobs are found with --quick"
        raise UsageError(f"the service knows no job {job_id}", hint=f"see: oss-dispatcher jobs list{other}")
    if asked.output is not Format.TABLE:
        print_document(records[0], asked.output)
        return
    from dispatcher.cli.job_showing import lines_of  # noqa: PLC0415

    for line in lines_of(records[0]):
        print_line(line)


def _refuse_others(where: str, given: dict[str, str | None]) -> None:
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} means nothing {where}", hint="see: oss-dispatcher jobs list --help")


@contextmanager
def _listing(settings: "Settings", region: str | None, at: datetime) -> "Iterator[JobListing]":
    from dispatcher.service.job_listing import JobListing, endpoints_of  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.targets.alibaba import AlibabaClients  # noqa: PLC0415
    from dispatcher.targets.jobs import AlibabaJobs  # noqa: PLC0415

    endpoints = endpoints_of(settings, region)
    with closing(AlibabaClients(settings.credentials, call_timeout=settings.call_timeout)) as clients:
        yield JobListing(AlibabaJobs(clients), endpoints, at)


@contextmanager
def _joining(
    settings: "Settings", asked: Invocation
) -> "Iterator[Callable[[Iterator[tuple[EditingJob, str]]], Iterator[ListedJob]]]":
    """Yield what joins editing jobs with the ledger's rows, as far as there is a ledger."""
    from dispatcher.service.job_listing import joined, open_for_joining  # noqa: PLC0415 - SQLAlchemy

    with open_for_joining(settings, asked.say) as ledger:
        yield lambda found: joined(found, ledger)


def _print_jobs(asked: Invocation, found: "Iterator[ListedJob]") -> None:
    from dispatcher.cli.job_showing import job_json  # noqa: PLC0415

    if asked.output is not Format.TABLE:
        print_records(map(job_json, found), asked.output)
        return
    print_table(
        ("job", "status", "created", "completed", "output", "dispatch", "rule", "object", "error"),
        (
            (
                each.job.job_id,
                each.job.status,
                brief_time(each.job.created_at),
                brief_time(each.job.completed_at),
                each.job.media_id,
                each.dispatch_id,
                each.row and each.row.rule,
                each.row and each.row.bucket and f"{each.row.bucket}/{each.row.key}",
                each.job.code or each.job.message,
            )
            for each in found
        ),
    )


def _print_quick_jobs(asked: Invocation, found: "Iterator[ListedQuickJob]") -> None:
    from dispatcher.cli.job_showing import quick_job_json  # noqa: PLC0415

    if asked.output is not Format.TABLE:
        print_records(map(quick_job_json, found), asked.output)
        return
    print_table(
        ("job", "type", "status", "created", "completed", "output"),
        (
            (
                each.job.job_id,
                each.job.job_type,
                each.job.status,
                brief_time(each.job.created_at),
                brief_time(each.job.completed_at),
                each.job.output_config,
            )
            for each in found
        ),
    )
