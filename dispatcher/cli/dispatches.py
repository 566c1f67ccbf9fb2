"""`dispatches`: the ledger's rows, read and changed by one set of selectors."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.ledgers import now, reading, writing
from dispatcher.cli.output import Format, brief_time, print_document, print_line, print_records, print_table
from dispatcher.cli.selecting import Selection, takes_selection
from dispatcher.core.selecting import parse_time, pick
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.browse import DispatchView, Selector
    from dispatcher.ledger.engine import Ledger

TABLE_LIMIT = 200
"""Rows of a table without --limit: more is for programs, and those read JSON."""

app = typer.Typer(help="What the ledger knows: list, show, and decide.", no_args_is_help=True)
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def selector_of(settings: "Settings", selection: Selection, at: datetime) -> "Selector":
    """Return the ledger's selector for what the operator wrote. Raises UsageError or LocationError."""
    from dispatcher.ledger.browse import Selector  # noqa: PLC0415 - SQLAlchemy

    picked = pick(selection.which, settings.names)
    return Selector(
        ids=picked.ids,
        objects=picked.objects,
        rules=tuple(selection.rule or ()),
        states=tuple(selection.state or ()),
        task_statuses=tuple(selection.task_status or ()),
        key=selection.key,
        codes=tuple(selection.code or ()),
        since=parse_time(selection.since, "--since", at) if selection.since is not None else None,
        until=parse_time(selection.until, "--until", at) if selection.until is not None else None,
        sources=tuple(selection.source or ()),
        limit=selection.limit,
    )


@app.command("list")
@takes_selection
def list_(ctx: typer.Context, selection: Selection) -> None:
    """List dispatches, the newest first."""
    from dataclasses import replace  # noqa: PLC0415

    from dispatcher.ledger import browse  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.documents.dispatches import dispatch_json  # noqa: PLC0415

    asked = invocation(ctx)
    settings = asked.settings()
    at = now()
    selector = selector_of(settings, selection, at)
    with reading(settings) as ledger, ledger.read() as tx:
        if asked.output is not Format.TABLE:
            print_records((dispatch_json(view) for view in browse.select(tx, selector, at)), asked.output)
            return
        if selector.limit is None:
            selector = replace(selector, limit=TABLE_LIMIT + 1)
        views = list(browse.select(tx, selector, at))
    if selection.limit is None and len(views) > TABLE_LIMIT:
        views.pop()
        asked.say(f"the newest {TABLE_LIMIT} are shown; --limit N shows more, -o jsonl all")
    print_table(_COLUMNS, map(_row, views))


_COLUMNS = ("id", "rule", "object", "state", "task", "attempts", "seen", "next", "last error")


def _row(view: "DispatchView") -> tuple[object, ...]:
    from dispatcher.service.documents.timeline import state_text  # noqa: PLC0415

    error = view.last_error
    return (
        view.dispatch_id,
        view.rule,
        f"{view.bucket}/{view.key}",
        state_text(view),
        view.task_id,
        view.attempts,
        brief_time(view.first_seen_at),
        brief_time(view.next_at),
        error and (error.code or error.message),
    )


@app.command()
@takes_selection
def show(ctx: typer.Context, selection: Selection) -> None:
    """Show what happened to each: seen, matched, called, answered, and how the task ended."""
    from dispatcher.ledger import browse  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.documents.dispatches import detail_json  # noqa: PLC0415
    from dispatcher.service.documents.timeline import timeline  # noqa: PLC0415

    asked = invocation(ctx)
    _demand_selector(selection, "show")
    settings = asked.settings()
    at = now()
    selector = selector_of(settings, selection, at)
    with reading(settings) as ledger, ledger.read() as tx:
        found = [view.dispatch_id for view in browse.select(tx, selector, at)]
        # A pruned dispatch has no row to select by, only its id.
        wanted = dict.fromkeys([*selector.ids, *found]) if selector.limit is None else dict.fromkeys(found)
        details = [detail for each in wanted if (detail := browse.show(tx, each, at)) is not None]
    if not details:
        raise UsageError("the ledger has no such dispatch", hint="see `oss-dispatcher dispatches list`, and check -c")
    if asked.output is not Format.TABLE:
        print_records(map(detail_json, details), asked.output)
        return
    for detail in details:
        for line in timeline(detail):
            print_line(line)


@app.command()
@takes_selection
def retry(ctx: typer.Context, selection: Selection, *, yes: Yes = False) -> None:
    """Send dead, skipped and held uncertain dispatches (again), now."""
    from dispatcher.ledger import operating  # noqa: PLC0415 - SQLAlchemy

    _change(ctx, selection, "retry", operating.retry, operating.may_retry, yes=yes)


@app.command()
@takes_selection
def skip(ctx: typer.Context, selection: Selection, *, yes: Yes = False) -> None:
    """Give up pending, dead and held uncertain dispatches: they are never sent."""
    from dispatcher.ledger import operating  # noqa: PLC0415 - SQLAlchemy

    _change(ctx, selection, "skip", operating.skip, operating.may_skip, yes=yes)


@app.command()
@takes_selection
def probe(ctx: typer.Context, selection: Selection, *, yes: Yes = False) -> None:
    """Look for uncertain dispatches among the service's tasks now, counting absences afresh."""
    from dispatcher.ledger import operating  # noqa: PLC0415 - SQLAlchemy

    _change(ctx, selection, "probe", operating.probe, operating.may_probe, yes=yes)


@app.command()
@takes_selection
def rerun(
    ctx: typer.Context,
    selection: Selection,
    *,
    again: Annotated[
        str, typer.Option("--again", metavar="NAME", help="Name of the run: the same name again adds nothing.")
    ],
    yes: Yes = False,
) -> None:
    """Run selected dispatches that ended once more, as a named run: each is a start that is paid again.

    An object that is gone, or has other content now, is not started in their place.
    """
    from dispatcher.cli.rerunning import print_rerun  # noqa: PLC0415
    from dispatcher.service import rerunning  # noqa: PLC0415 - the store and the ledger
    from dispatcher.service.takeover import open_rerunning  # noqa: PLC0415 - as above

    asked = invocation(ctx)
    _demand_selector(selection, "rerun")
    rerunning.check_name(again)
    settings = asked.settings()
    selector = selector_of(settings, selection, now())
    with writing(settings) as ledger, open_rerunning(settings, ledger) as running:
        with ledger.read() as tx:
            found = rerunning.selected(tx, selector)
        what = f"rerun {found.rows} dispatches as run {again}, {found.started} of which were started and are paid again"
        done = running.rerun(selector, again) if found.rows and confirmed(what, yes=yes) else rerunning.Rerun()
    print_rerun(asked, done, again)


def _change(  # noqa: PLR0913 - a verb is its name, its function and its condition
    ctx: typer.Context,
    selection: Selection,
    verb: str,
    change: Callable[..., int],
    allowed: "Callable[[], ColumnElement[bool]]",
    *,
    yes: bool,
) -> None:
    from dispatcher.ledger import operating  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    _demand_selector(selection, verb)
    settings = asked.settings()
    at = now()
    selector = selector_of(settings, selection, at)
    with writing(settings) as ledger:
        with ledger.read() as tx:
            count = operating.countable(tx, selector, allowed())
        agreed = count > 0 and confirmed(f"{verb} {count} dispatches", yes=yes)
        changed = _in_batches(ledger, selector, change, at) if agreed else 0
    _tell(asked, verb, count, changed)


def _in_batches(ledger: "Ledger", selector: "Selector", change: Callable[..., int], at: datetime) -> int:
    from dispatcher.ledger.writing import BATCH  # noqa: PLC0415 - SQLAlchemy

    total = 0
    while selector.limit is None or total < selector.limit:
        most = BATCH if selector.limit is None else min(BATCH, selector.limit - total)
        with ledger.write() as tx:
            changed = change(tx, selector, at, limit=most)
        if changed == 0:
            break
        total += changed
    return total


def _tell(asked: Invocation, verb: str, count: int, changed: int) -> None:
    if asked.output is not Format.TABLE:
        print_document({"verb": verb, "selected": count, "changed": changed}, asked.output)
    elif count == 0:
        print_line(f"{verb}: no selected dispatch is in a state where this means anything; nothing was changed")
    else:
        print_line(f"{verb}: {changed} of {count} dispatches changed")


def _demand_selector(selection: Selection, verb: str) -> None:
    if selection.empty:
        raise UsageError(
            f"{verb}: which dispatches? nothing is selected",
            hint="name ids or URLs, or select by --rule, --state, --code, --key, --since ...",
        )


def confirmed(what: str, *, yes: bool) -> bool:
    """Ask whether to do it. Without a terminal nobody can answer: raises UsageError unless `yes`."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"this would {what}, and nobody is there to confirm it", hint="repeat with --yes")
    return typer.confirm(f"{what}?", err=True)
