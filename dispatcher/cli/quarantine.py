"""`quarantine`: bodies that meant nothing: list, show, decode again, or drop."""

from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.dispatches import Yes, confirmed
from dispatcher.cli.invocation import invocation
from dispatcher.cli.ledgers import now, reading, writing
from dispatcher.cli.output import (
    Format,
    brief_time,
    print_document,
    print_line,
    print_records,
    print_table,
)
from dispatcher.core.decoding import Format as WireFormat
from dispatcher.errors import UsageError
from dispatcher.service.documents.quarantine import quarantined_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from dispatcher.ledger.quarantine import Choice, Quarantined

SHOWN = 200
"""Bodies of a table without --limit."""
SHORT = 60
"""Characters of a body in a table."""
PAGE = 100

app = typer.Typer(help="Notifications that meant nothing: list, show, and decide.", no_args_is_help=True)
Numbers = Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]...", help="As `list` shows them.")]
Sources = Annotated[list[str] | None, typer.Option("--source", metavar="SOURCE", help="Brought by this source.")]
Every = Annotated[bool, typer.Option("--all", help="All of them.")]


def _choice(numbers: list[int] | None, sources: list[str] | None, *, every: bool) -> "Choice":
    from dispatcher.ledger.quarantine import Choice  # noqa: PLC0415 - SQLAlchemy

    return Choice(tuple(numbers or ()), tuple(sources or ()), every)


def _demanded(choice: "Choice", verb: str) -> None:
    if not (choice.numbers or choice.sources or choice.every):
        raise UsageError(
            f"quarantine {verb}: which bodies? nothing is selected", hint="name numbers, or select by --source or --all"
        )


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    source: Sources = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many.")] = None,
) -> None:
    """List what is in quarantine, the oldest first."""
    asked = invocation(ctx)
    choice = _choice(None, source, every=True)
    with reading(asked.settings()) as ledger, ledger.read() as tx:
        if asked.output is not Format.TABLE:
            print_records((quarantined_json(each, whole=False) for each in _all(tx, choice, limit)), asked.output)
            return
        rows = list(_all(tx, choice, limit or SHOWN + 1))
    if limit is None and len(rows) > SHOWN:
        rows.pop()
        asked.say(f"the oldest {SHOWN} are shown; --limit N shows more, -o jsonl all")
    print_table(
        ("number", "source", "format", "last seen", "times", "why", "begins"),
        (
            (
                each.number,
                each.source,
                each.format or "by its marks",
                brief_time(each.last_seen_at),
                each.times,
                each.reason,
                _text(each.body)[:SHORT],
            )
            for each in rows
        ),
    )


def _all(tx: "Connection", choice: "Choice", limit: int | None) -> "Iterator[Quarantined]":
    from dispatcher.ledger import quarantine  # noqa: PLC0415 - SQLAlchemy

    after, left = 0, limit
    while left is None or left > 0:
        some = quarantine.select_some(tx, choice, after=after, limit=PAGE if left is None else min(PAGE, left))
        if not some:
            return
        yield from some
        after = some[-1].number
        left = None if left is None else left - len(some)


@app.command()
def show(
    ctx: typer.Context, number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `list` shows it.")]
) -> None:
    """Show one body whole."""
    from dispatcher.ledger import quarantine  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    with reading(asked.settings()) as ledger, ledger.read() as tx:
        found = quarantine.select_some(tx, _choice([number], None, every=False))
    if not found:
        raise UsageError(f"there is no body {number} in quarantine", hint="see: oss-dispatcher quarantine list")
    (each,) = found
    if asked.output is not Format.TABLE:
        print_document(quarantined_json(each, whole=True), asked.output)
        return
    print_line(f"number {each.number}, from {each.source}, read as {each.format or 'what its marks tell'}")
    print_line(f"came {each.times} times, first {brief_time(each.first_seen_at)}, last {brief_time(each.last_seen_at)}")
    print_line(f"why: {each.reason}")
    print_line()
    for line in _text(each.body).splitlines():
        print_line(line)


@app.command()
def retry(  # noqa: PLR0913 - one parameter for each option
    ctx: typer.Context,
    numbers: Numbers = None,
    *,
    source: Sources = None,
    every: Every = False,
    form: Annotated[
        WireFormat | None, typer.Option("--format", help="Read them as this, and not as their source is configured.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Decode again, as the sources are configured now, and take what is understood."""
    from dispatcher.ledger import quarantine  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.replaying import Replayed, replay  # noqa: PLC0415 - as above

    asked = invocation(ctx)
    choice = _choice(numbers, source, every=every)
    _demanded(choice, "retry")
    settings = asked.settings()
    with writing(settings) as ledger:
        with ledger.read() as tx:
            count = quarantine.count(tx, choice)
        agreed = count > 0 and confirmed(f"decode {count} bodies again", yes=yes)
        done = replay(settings, ledger, choice, form, now) if agreed else Replayed()
    if asked.output is not Format.TABLE:
        print_document(
            {"verb": "retry", "selected": count, "changed": done.understood, "left": done.left}, asked.output
        )
    else:
        print_line(f"retry: {done.understood} of {count} bodies were understood and taken; {done.left} stay")


@app.command()
def drop(
    ctx: typer.Context,
    numbers: Numbers = None,
    *,
    source: Sources = None,
    every: Every = False,
    yes: Yes = False,
) -> None:
    """Forget bodies for good."""
    from dispatcher.ledger import quarantine  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    choice = _choice(numbers, source, every=every)
    _demanded(choice, "drop")
    with writing(asked.settings()) as ledger:
        with ledger.read() as tx:
            count = quarantine.count(tx, choice)
        dropped = 0
        if count > 0 and confirmed(f"drop {count} bodies", yes=yes):
            with ledger.write() as tx:
                dropped = quarantine.drop(tx, choice)
    if asked.output is not Format.TABLE:
        print_document({"verb": "drop", "selected": count, "changed": dropped}, asked.output)
    else:
        print_line(f"drop: {dropped} of {count} bodies forgotten")


def _text(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")
