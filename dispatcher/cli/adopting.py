"""`db adopt`: what IMS was asked to start becomes known to the ledger."""

import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.dispatches import Yes, confirmed
from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.ledgers import now
from dispatcher.cli.output import Format, Record, brief_time, print_document, print_line, rfc3339
from dispatcher.core.selecting import parse_time
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.service.adoption import Adoption, NotAdopted

TELL_EVERY_SECONDS = 5.0


def adopt(  # noqa: PLR0913 - one parameter for each option
    ctx: typer.Context,
    *,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Started since: 7d, 2026-01-31, or RFC 3339; at most 90d.")
    ] = "90d",
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Started before: as --since; default: now.")
    ] = None,
    foreign: Annotated[
        bool,
        typer.Option("--foreign", help="Also tasks without our id: they count as starts of the objects they read."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; write nothing.")] = False,
    yes: Yes = False,
) -> None:
    """Record what IMS was asked to start, so that it is never started again.

    For a ledger that was lost or is old, and before taking over from another starter. Running it again adds nothing.
    """
    asked = invocation(ctx)
    settings = asked.settings()
    at = now()
    begin, end = _window(since, until, at)
    from dispatcher.ledger.place import path_of  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.takeover import open_adopting  # noqa: PLC0415 - the store, the ledger and the service

    if not dry_run and not confirmed(
        f"record what IMS lists since {brief_time(begin)} in {path_of(settings.ledger.url)}", yes=yes
    ):
        return
    # Ctrl-C may come at any instruction: each page is a transaction, and running it again goes on.
    stop = threading.Event()
    with open_adopting(settings, stop, foreign=foreign, dry_run=dry_run, progress=_teller(asked)) as adopting:
        done = adopting.adopt(begin, end)
    if asked.output is Format.TABLE:
        _print(done, foreign=foreign, dry_run=dry_run)
    else:
        print_document(_json(done, begin, end, dry_run=dry_run), asked.output)


def _window(since: str, until: str | None, at: "datetime") -> "tuple[datetime, datetime]":
    """Return what is to be listed; the service lists 90 days, and its clock may be before ours."""
    from dispatcher.service.behind import CLOCK_SLACK  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.starts import LISTED_FOR, earliest  # noqa: PLC0415 - as above

    begin = parse_time(since, "--since", at)
    if begin < at - LISTED_FOR:
        raise UsageError(
            f"--since {since}: IMS lists the last {LISTED_FOR.days} days only", hint=f"write --since {LISTED_FOR.days}d"
        )
    end = at + CLOCK_SLACK if until is None else parse_time(until, "--until", at)
    if end <= begin:
        raise UsageError("--until is not later than --since", hint="exchange the two, or leave one out")
    return max(begin, earliest(at)), end


def _teller(asked: Invocation) -> "Callable[[Adoption], None]":
    last = [time.monotonic()]

    def tell(done: "Adoption") -> None:
        if time.monotonic() - last[0] >= TELL_EVERY_SECONDS:
            last[0] = time.monotonic()
            new = done.rows + done.tombstones + done.foreign_rows
            asked.say(f"{done.listed} starts read, {new} recorded, {done.known} known")

    return tell


# -- telling ----------------------------------------------------------------------------------------


def _json(done: "Adoption", begin: "datetime", end: "datetime", *, dry_run: bool) -> Record:
    from dispatcher.core.location import object_url  # noqa: PLC0415

    return {
        "since_at": rfc3339(begin),
        "until_at": rfc3339(end),
        "dry_run": dry_run,
        "behind": done.behind,
        "unreadable": done.unreadable,
        "listed": done.listed,
        "rows": done.rows,
        "tombstones": done.tombstones,
        "settled": done.settled,
        "finished": done.finished,
        "double_starts": done.double_starts,
        "known": done.known,
        "elsewhere": done.elsewhere,
        "without_id": done.without_id,
        "foreign_rows": done.foreign_rows,
        "foreign_settled": done.foreign_settled,
        "not_adopted": [
            {"reason": reason.value, "count": count, "example": object_url(*done.examples[reason])}
            for reason, count in sorted(done.not_adopted.items())
        ],
    }


def _print(done: "Adoption", *, foreign: bool, dry_run: bool) -> None:
    from dispatcher.core.location import object_url  # noqa: PLC0415

    would = "would be " if dry_run else ""
    print_line(f"IMS lists {done.listed} starts, {done.elsewhere} of them under no rule or of another dispatcher")
    print_line(f"with our id: {done.rows} {would}recorded, {done.tombstones} {would}recorded by their id alone,")
    print_line(f"  {done.settled} rows {would}settled, {done.finished} got their final status, {done.known} were known")
    if done.double_starts:
        print_line(f"  {done.double_starts} are second tasks of one dispatch: see status")
    if foreign:
        print_line(f"without our id, under a rule: {done.without_id}")
        new, settled = done.foreign_rows, done.foreign_settled
        print_line(f"  {new} {would}recorded as starts of their objects, {settled} waiting rows {would}settled")
        for reason, count in sorted(done.not_adopted.items()):
            print_line(f"  {count} not adopted: {_why(reason)}; first: {object_url(*done.examples[reason])}")
    elif done.without_id:
        print_line(f"without our id, under a rule: {done.without_id}; --foreign takes them for starts of their objects")
    if done.unreadable is not None:
        print_line(f"objects could not be looked at: {done.unreadable}")
    if done.behind and not dry_run:
        print_line("earlier starts were not read; the next start of the dispatcher looks whether any is unknown")


def _why(reason: "NotAdopted") -> str:
    from dispatcher.service.adoption import NotAdopted  # noqa: PLC0415

    match reason:
        case NotAdopted.GONE:
            return "the object is not there any more"
        case NotAdopted.NEWER:
            return "the object was written after the task began, which read something else"
        case NotAdopted.UNREADABLE:
            return "the object, or the time of the task, could not be read"
        case NotAdopted.STARTED:
            return "another task of this content is recorded: two tasks read it"
        case NotAdopted.SENDING:
            return "a call of the dispatcher is under way"
