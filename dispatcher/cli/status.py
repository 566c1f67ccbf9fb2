"""`status`: now, from the ledger: what waits and why, what is held or paused, what the listings saw."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.failing import EXAMPLE, OPTION, alarms, parse_conditions
from dispatcher.cli.invocation import invocation
from dispatcher.cli.ledgers import now, reading
from dispatcher.cli.output import Format, brief_time, print_document, print_line, print_table, say
from dispatcher.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.ledger.snapshots import RootStatistics
    from dispatcher.service.documents.status import Status


def status(
    ctx: typer.Context,
    *,
    fail_if: Annotated[
        str | None,
        typer.Option(OPTION, metavar="CONDITIONS", help=f"Exit with 1 while one is true: {EXAMPLE}."),
    ] = None,
) -> None:
    """Show what waits, what failed, and why.

    From the ledger: the daemon need not run. `failed` looks back a day; failed=7d a week.
    """
    conditions = () if fail_if is None else parse_conditions(fail_if)
    from dispatcher.service.documents.status import read_status, status_json  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    with reading(asked.settings()) as ledger, ledger.read() as tx:
        found = read_status(tx, now())
        raised = alarms(tx, found, conditions)
    if asked.output is Format.TABLE:
        _print(found)
    else:
        failing = {} if fail_if is None else {"failing": [asdict(each) for each in raised]}
        print_document({**status_json(found), **failing}, asked.output)
    for each in raised:
        say(f"{each.condition}: {each.detail}")
    if raised:
        raise typer.Exit(int(ExitCode.OBJECTS_FAILED))


# -- tables ---------------------------------------------------------------------------------------


def _print(found: "Status") -> None:
    from dispatcher.service.documents.backfills import shown_state  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.documents.status import by_state, hint_of  # noqa: PLC0415 - SQLAlchemy

    for each in found.notices:
        print_line(f"{each.code.value} since {brief_time(each.since)}: {each.detail}")
        print_line(f"  {hint_of(each)}")
    rows = [(state, reason, count) for (state, reason), count in by_state(found).items()]
    rows += [(f"{state} (pruned)", None, count) for state, count in found.pruned.items()]
    print_table(["state", "reason", "dispatches"], rows or [("none yet", None, 0)], title="dispatches")
    print_line()
    for line in _lines(found):
        print_line(line)
    _print_if(
        "tasks", ["status", "tasks"], [(status or "not seen yet", count) for status, count in found.tasks.items()]
    )
    _print_if("dead, by code", ["code", "dispatches"], list(found.dead_codes.items()))
    paused = [(target, each.pause_reason, brief_time(each.trial_at)) for target, each in found.paused.items()]
    _print_if(
        "in quarantine (quarantine list)", ["source", "bodies that meant nothing"], list(found.quarantined.items())
    )
    missed = [(bucket, each.found_by_listing_only, brief_time(each.last_at)) for bucket, each in found.missed.items()]
    _print_if("found by listing only: no notification came", ["bucket", "objects", "last counted"], missed)
    _print_if("paused targets", ["target", "why", "next trial"], paused)
    held = [(each.rule_id, each.reason, brief_time(each.since), each.detail) for each in found.holds.values()]
    _print_if("held rules (rules resume RULE)", ["rule", "reason", "since", "what was seen"], held)
    used = [(rule, each.used, each.limit, each.released) for rule, each in found.budgets.items() if each.used]
    _print_if("budgets today (UTC)", ["rule", "used", "limit", "released"], used)
    going_on = [
        (each.number, each.name, shown_state(each, counts, found.at), counts.unfinished)
        for each, counts in found.backfills
    ]
    _print_if("backfills (backfill list)", ["number", "name", "state", "rows left"], going_on)
    _print_if("listings", ["bucket", "root", "listed", "last complete pass", "suspect"], map(_root_row, found.roots))
    foreign = [(each.rule_id, f"{each.bucket}/{each.key}", each.task_id, each.workflow_id) for each in found.foreign]
    _print_if("last foreign starts: set Trigger mode to Manual", ["rule", "object", "task", "workflow"], foreign)
    doubles = [(each.dispatch_id, each.task_id, brief_time(each.seen_at)) for each in found.doubles]
    _print_if("last double starts", ["dispatch", "second task", "seen"], doubles)


def _lines(found: "Status") -> Iterator[str]:
    if found.oldest is not None:
        age = str(found.at - found.oldest.first_seen_at).split(".", maxsplit=1)[0]
        yield f"oldest waiting: {age}, rule {found.oldest.rule_id}, dispatch {found.oldest.dispatch_id}"
    else:
        yield "nothing waits"
    if found.undecided:
        yield f"objects whose content is not known yet: {found.undecided}"
    yield f"foreign starts: {found.foreign_count}; double starts: {found.double_count}"


def _root_row(root: "RootStatistics") -> tuple[object, ...]:
    listed = brief_time(root.listed_at) if root.completed_at is not None else "first listing not complete"
    suspect = f"pass {root.suspect_pass}: {root.suspect_missing} missing" if root.suspect_pass is not None else None
    return root.bucket, root.root or "(whole bucket)", root.entries, listed, suspect


def _print_if(
    title: str, columns: "Sequence[str]", rows: "Iterator[Sequence[object]] | Sequence[Sequence[object]]"
) -> None:
    some = list(rows)
    if some:
        print_line()
        print_table(columns, some, title=title)
