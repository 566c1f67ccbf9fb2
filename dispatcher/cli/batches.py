"""`batches`: IMM batches over a prefix: create one, list, show, suspend and resume."""

import os
import secrets
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.dispatches import Yes, confirmed
from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.output import Format, brief_time, print_document, print_line, print_records, print_table, say
from dispatcher.core.batches import BatchOrder, BatchQuery, BatchSort, BatchState, tag_id
from dispatcher.core.jobs import read_choice
from dispatcher.errors import ConfigError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.batches import Batch
    from dispatcher.core.calls import Endpoint
    from dispatcher.core.settings import Settings
    from dispatcher.service.batching import BatchPlan, CreatedBatch
    from dispatcher.targets.alibaba import AlibabaClients
    from dispatcher.targets.imm import AlibabaBatches

PAGE_LIMIT = 100
NO_ID_YET = "(made for each call)"

app = typer.Typer(help="IMM batches: a prefix processed by IMM's own means.", no_args_is_help=True)

ProjectName = Annotated[
    str | None, typer.Option("--project", metavar="NAME", help="The IMM project; default: imm.project.")
]
Region = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="Default: the region of the rules' buckets.")
]
BatchId = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]


@app.command()
def create(
    ctx: typer.Context,
    *,
    rule: Annotated[str | None, typer.Option("--rule", metavar="RULE", help="Over the input of this rule.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="As this file says, in YAML or JSON.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the request and what is doubtful; send nothing.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Let IMM process every object under a prefix, outside the ledger: it knows nothing of what was dispatched.

    --rule says which objects, --file says how; either is enough where the other's part stands in the
    configuration's imm: or in the file.
    """
    from dispatcher.cli.batch_showing import lines_of_plan, plan_json  # noqa: PLC0415
    from dispatcher.config.batch_file import load_batch  # noqa: PLC0415 - pydantic and the YAML reader
    from dispatcher.service.batching import plan_batch  # noqa: PLC0415
    from dispatcher.service.checking import is_ok  # noqa: PLC0415

    asked = invocation(ctx)
    settings = asked.settings()
    written = None if file is None else load_batch(file, settings.names, os.environ)
    our_id = NO_ID_YET if dry_run else tag_id(secrets.token_bytes(16))
    plan = plan_batch(settings, rule, written, our_id)
    if dry_run:
        if asked.output is Format.TABLE:
            for line in lines_of_plan(plan):
                print_line(line)
        else:
            print_document(plan_json(plan), asked.output)
        raise typer.Exit(int(ExitCode.DONE if is_ok(plan.problems) else ExitCode.CONFIG))
    _refuse_errors(plan)
    for note in plan.notes:
        asked.say(f"note: {note}")
    if not confirmed(f"create an IMM batch over {plan.request.input} in project {plan.request.project}", yes=yes):
        return
    created = _create(settings, plan)
    _tell_created(asked, plan, created)


def _refuse_errors(plan: "BatchPlan") -> None:
    """Raise ConfigError for what forbids the batch; say the rest."""
    errors = [problem for problem in plan.problems if problem.severity == "error"]
    if errors:
        raise ConfigError("\n".join(problem.message for problem in errors), hint=errors[0].hint)
    for problem in plan.problems:
        say(f"warning: {problem.message}. {problem.hint}")


def _create(settings: "Settings", plan: "BatchPlan") -> "CreatedBatch":
    from dispatcher.service.batching import create_batch  # noqa: PLC0415
    from dispatcher.targets.batches import BatchTarget  # noqa: PLC0415

    key, value = plan.tag
    # Whatever happens to this process now, the operator can look for this tag.
    say(f"creating the batch with the tag {key}={value}")
    with _clients(settings) as clients:
        return create_batch(plan, BatchTarget(clients), _batches(clients), _pause)


def _pause(seconds: float) -> None:
    say(f"the call had no answer; in {seconds:g} s the list of batches is asked for it")
    time.sleep(seconds)


def _tell_created(asked: Invocation, plan: "BatchPlan", created: "CreatedBatch") -> None:
    for other in created.others:
        say(f"warning: batch {other} has the same tag: a call that seemed lost arrived; suspend one of the two")
    if asked.output is Format.TABLE:
        how = ", found by its tag after its answer was lost" if created.listed else ""
        print_line(f"batch {created.batch_id} was created{how}")
        asked.say(f"see: oss-dispatcher batches show {created.batch_id}")
        return
    print_document(
        {
            "batch_id": created.batch_id,
            "project": plan.request.project,
            "input": str(plan.request.input),
            "tag": "=".join(plan.tag),
            "request_id": created.request_id,
            "found_by_listing": created.listed,
            "others": list(created.others),
        },
        asked.output,
    )


@app.command("list")
def list_(  # noqa: PLR0913 - one parameter for each filter of the call
    ctx: typer.Context,
    *,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help=f"In this state: {', '.join(BatchState)}.")
    ] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="KEY=VALUE", help="With this tag; oss_dispatcher_id=ID is ours.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="FIELD", help=f"By this time: {', '.join(BatchSort)}.")
    ] = None,
    order: Annotated[
        str | None,
        typer.Option("--order", metavar="ORDER", help=f"{', '.join(BatchOrder)}; the service's default: ASC."),
    ] = None,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=PAGE_LIMIT, metavar="N", help="Batches of one request, 1 to 100.")
    ] = PAGE_LIMIT,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many; default: all pages.")
    ] = None,
    project: ProjectName = None,
    region: Region = None,
) -> None:
    """List the project's batches, also those that others created."""
    from itertools import islice  # noqa: PLC0415

    from dispatcher.cli.batch_showing import batch_json  # noqa: PLC0415

    asked = invocation(ctx)
    chosen = (
        None if state is None else read_choice(BatchState, state, "--state"),
        None if sort is None else read_choice(BatchSort, sort, "--sort"),
        None if order is None else read_choice(BatchOrder, order, "--order"),
        None if tag is None else _tag(tag),
    )
    settings = asked.settings()
    endpoint, name = _place(settings, project, region)
    query = BatchQuery(endpoint, name, *chosen, page_size=page_size)
    with _clients(settings) as clients:
        found = islice(_batches(clients).list_batches(query), limit)
        if asked.output is not Format.TABLE:
            print_records(map(batch_json, found), asked.output)
            return
        print_table(
            ("batch", "state", "input", "submitted", "failed", "skipped", "created", "updated", "error"),
            map(_row, found),
        )


def _row(batch: "Batch") -> tuple[object, ...]:
    return (
        batch.batch_id,
        batch.state,
        batch.bucket and f"oss://{batch.bucket}/{batch.prefix or ''}",
        batch.submitted,
        batch.failed,
        batch.skipped,
        brief_time(batch.created_at),
        brief_time(batch.updated_at),
        batch.error,
    )


@app.command()
def show(ctx: typer.Context, batch_id: BatchId, *, project: ProjectName = None, region: Region = None) -> None:
    """Show everything that the service tells of a batch."""
    from dispatcher.cli.batch_showing import batch_json  # noqa: PLC0415
    from dispatcher.cli.job_showing import lines_of  # noqa: PLC0415

    asked = invocation(ctx)
    settings = asked.settings()
    endpoint, name = _place(settings, project, region)
    with _clients(settings) as clients:
        batch = _batches(clients).get_batch(endpoint, name, batch_id)
    if batch is None:
        raise UsageError(
            f"project {name} has no batch {batch_id}", hint="see: oss-dispatcher batches list, and check --project"
        )
    if asked.output is not Format.TABLE:
        print_document(batch_json(batch), asked.output)
        return
    for line in lines_of(batch_json(batch)):
        print_line(line)


@app.command()
def suspend(ctx: typer.Context, batch_id: BatchId, *, project: ProjectName = None, region: Region = None) -> None:
    """Let a running batch submit no more tasks; those that it submitted go on."""
    from dispatcher.service.batching import suspend_batch  # noqa: PLC0415

    _change(invocation(ctx), suspend_batch, batch_id, project, region)


@app.command()
def resume(ctx: typer.Context, batch_id: BatchId, *, project: ProjectName = None, region: Region = None) -> None:
    """Let a suspended or failed batch go on."""
    from dispatcher.service.batching import resume_batch  # noqa: PLC0415

    _change(invocation(ctx), resume_batch, batch_id, project, region)


def _change(
    asked: Invocation,
    change: "Callable[[AlibabaBatches, Endpoint, str, str], Batch]",
    batch_id: str,
    project: str | None,
    region: str | None,
) -> None:
    settings = asked.settings()
    endpoint, name = _place(settings, project, region)
    with _clients(settings) as clients:
        batch = change(_batches(clients), endpoint, name, batch_id)
    if asked.output is Format.TABLE:
        print_line(f"batch {batch_id} is {batch.state}; {batch.submitted or 0} tasks were submitted")
    else:
        print_document({"batch_id": batch_id, "state": batch.state, "submitted": batch.submitted}, asked.output)


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"--tag {text}: no tag", hint="write --tag KEY=VALUE")
    return key, value


def _place(settings: "Settings", project: str | None, region: str | None) -> "tuple[Endpoint, str]":
    """Return the endpoint and the project of a command. Raises ConfigError or UsageError where they are not known."""
    from dispatcher.service.batching import endpoint_in, project_of  # noqa: PLC0415

    return endpoint_in(settings, region), project_of(settings, project)


@contextmanager
def _clients(settings: "Settings") -> "Iterator[AlibabaClients]":
    from dispatcher.targets.alibaba import AlibabaClients  # noqa: PLC0415

    with closing(AlibabaClients(settings.credentials, call_timeout=settings.call_timeout)) as clients:
        yield clients


def _batches(clients: "AlibabaClients") -> "AlibabaBatches":
    from dispatcher.targets.imm import AlibabaBatches  # noqa: PLC0415

    return AlibabaBatches(clients)
