"""`report`: what was done, and what it cost."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.ledgers import now, reading
from dispatcher.cli.moments import parse_moment
from dispatcher.cli.output import Format, Json, print_document, print_line, print_table, rfc3339
from dispatcher.cli.tallies import size_text
from dispatcher.core.account import By
from dispatcher.core.dispatch import DispatchState, TaskStatus
from dispatcher.core.pricing import money_text

if TYPE_CHECKING:
    from decimal import Decimal

    from dispatcher.ledger.accounting import Span
    from dispatcher.service.reporting import Line, Report

NO_PRICE = "no price"


def report(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="First seen since: 24h, 2026-01-31, or RFC 3339.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="First seen before: as --since.")] = None,
    by: Annotated[By, typer.Option("--by", help="What a line is.")] = By.RULE,
) -> None:
    """Tell objects, bytes, starts, final states and runs again, with money where `prices:` are configured.

    From the ledger: nothing is listed or called. Days are of UTC.
    """
    asked = invocation(ctx)
    settings = asked.settings()
    from dispatcher.ledger.accounting import Span  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.reporting import make_report  # noqa: PLC0415 - as above

    at = now()
    span = Span(
        None if since is None else parse_moment(since, "--since", at).at,
        None if until is None else parse_moment(until, "--until", at).at,
    )
    with reading(settings) as ledger, ledger.read() as tx:
        found = make_report(tx, settings.rules, settings.prices, span, by)
    if asked.output is Format.TABLE:
        _print(found)
    else:
        print_document(_json(found, span), asked.output)


# -- JSON -------------------------------------------------------------------------------------------


def _json(found: "Report", span: "Span") -> dict[str, Json]:
    return {
        "since_at": rfc3339(span.since),
        "until_at": rfc3339(span.until),
        "by": found.by.value,
        "currency": found.currency,
        "lines": [{found.by.value: line.name, **_line_json(found, line)} for line in found.lines],
        "total": {**_line_json(found, found.total)},
        "list_requests": dict(sorted(found.list_requests.items())),
        "list_cost": _cost_json(found, found.list_cost),
        "cost": _cost_json(found, found.cost),
        "without_detail": found.without_detail,
    }


def _line_json(found: "Report", line: "Line") -> dict[str, Json]:
    entry = line.entry
    return {
        "objects": entry.rows,
        "bytes": entry.bytes,
        "again": entry.again,
        "starts": line.starts,
        "states": {state.value: entry.states[state] for state in DispatchState},
        "task_statuses": dict(sorted(entry.tasks.items())),
        "calls": {api.value: count for api, count in sorted(entry.calls.items())},
        "cost": _cost_json(found, line.cost),
    }


def _cost_json(found: "Report", cost: "Decimal | None") -> Json:
    """Return an amount as text, for a number in JSON would not be exact; None: not known."""
    return None if found.currency is None or cost is None else money_text(cost)


# -- table ------------------------------------------------------------------------------------------


def _print(found: "Report") -> None:
    columns = [found.by.value, "objects", "bytes", "starts", "again", "waiting", "skipped", "dead"]
    columns += ["tasks succeeded", "failed", "calls"] + (["cost"] if found.currency else [])
    print_table(columns, [_row(found, line) for line in (*found.lines, found.total)])
    for line in _notes(found):
        print_line(line)


_WAITING = (DispatchState.PENDING, DispatchState.SENDING, DispatchState.UNCERTAIN)


def _row(found: "Report", line: "Line") -> list[object]:
    entry, states = line.entry, line.entry.states
    succeeded = sum(count for status, count in entry.tasks.items() if _succeeded(status))
    failed = entry.tasks[TaskStatus.FAILED] + entry.tasks[TaskStatus.CANCELED]
    counts = (
        line.starts,
        entry.again,
        sum(states[state] for state in _WAITING),
        states[DispatchState.SKIPPED],
        states[DispatchState.DEAD],
        succeeded,
        failed,
        entry.calls.total(),
    )
    cells = [line.name, f"{entry.rows:,}", size_text(entry.bytes), *(f"{count:,}" for count in counts)]
    return [*cells, _money(found, line.cost)] if found.currency else list(cells)


def _succeeded(status: str) -> bool:
    return status in (TaskStatus.SUCCEED, TaskStatus.SUCCESS)


def _money(found: "Report", cost: "Decimal | None") -> str:
    return NO_PRICE if cost is None else f"{money_text(cost)} {found.currency}"


def _notes(found: "Report") -> Iterator[str]:
    for bucket, requests in sorted(found.list_requests.items()):
        yield f"listing {bucket}: {requests:,} LIST requests"
    if found.currency is not None:
        if found.list_requests:
            yield f"listing costs {_money(found, found.list_cost)}"
        yield f"all together {_money(found, found.cost)}"
        if found.cost is None:
            yield "something has no price: write start:, rules: or workflows:, and list: under prices:"
    if found.without_detail:
        yield (
            f"{found.without_detail:,} dispatches are in no line: an earlier version pruned them, or the ledger was"
            " rebuilt, and only their ids are left"
        )
