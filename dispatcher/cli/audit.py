"""`audit`: every object of the buckets against every rule, and every match against the ledger."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import typer

from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.ledgers import reading
from dispatcher.cli.output import Format, Json, print_document, print_line, print_table
from dispatcher.errors import ExitCode

if TYPE_CHECKING:
    from dispatcher.core.settings import Settings
    from dispatcher.service.auditing import Audit

TELL_EVERY_SECONDS = 5.0
SHOWN = 20
"""Unaccounted matches that a table names."""


def audit(ctx: typer.Context) -> None:
    """Account for every object: which rules match it, and what became of each match.

    Lists the buckets once; calls and changes nothing. Exit code 1 if it does not add up.
    """
    asked = invocation(ctx)
    settings = asked.settings()
    found = _look(asked, settings)
    if asked.output is Format.TABLE:
        _print(found)
    else:
        print_document(_json(found), asked.output)
    if not found.balanced:
        raise typer.Exit(int(ExitCode.OBJECTS_FAILED))


def _look(asked: Invocation, settings: "Settings") -> "Audit":
    from dispatcher.service.assembly import keys_of  # noqa: PLC0415 - the store and the ledger
    from dispatcher.service.auditing import Auditor  # noqa: PLC0415 - as above
    from dispatcher.sources.opening import open_bucket  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        ledger = stack.enter_context(reading(settings))
        stores = {
            name: stack.enter_context(
                closing(open_bucket(settings.buckets[name], keys_of(settings, settings.buckets[name])))
            )
            for name in settings.rules.buckets()
        }
        return Auditor(settings, ledger, stores, threading.Event(), _teller(asked)).audit()


def _teller(asked: Invocation) -> Callable[[int], None]:
    last = [time.monotonic()]

    def tell(objects: int) -> None:
        if time.monotonic() - last[0] >= TELL_EVERY_SECONDS:
            last[0] = time.monotonic()
            asked.say(f"{objects:,} objects looked at")

    return tell


def _json(found: "Audit") -> dict[str, Json]:
    from dispatcher.core.location import object_url  # noqa: PLC0415 - not needed for --help

    return {
        "listed": found.listed,
        "rules": found.rules,
        "not_matched": {reason.value: count for reason, count in sorted((+found.not_matched).items())},
        "matched": found.matched,
        "by_state": dict(sorted(found.by_state.items())),
        "unaccounted": [
            {"url": object_url(each.bucket, each.key), "rule": each.rule, "newer_than_last_pass": each.newer}
            for each in found.unaccounted
        ],
        "unaccounted_count": found.unaccounted_count,
        "list_requests": found.list_requests,
        "balanced": found.balanced,
    }


def _print(found: "Audit") -> None:
    rows: list[tuple[object, ...]] = [("not matched", reason, f"{n:,}") for reason, n in (+found.not_matched).items()]
    rows += [("matched", state, f"{count:,}") for state, count in sorted(found.by_state.items())]
    if found.unaccounted_count:
        rows.append(("matched", "UNACCOUNTED", f"{found.unaccounted_count:,}"))
    print_table(["verdict", "reason or state", "objects by rules"], rows)
    for line in _lines(found):
        print_line(line)


def _lines(found: "Audit") -> Iterator[str]:
    from dispatcher.core.location import object_url  # noqa: PLC0415 - as above

    pairs = found.listed * found.rules
    yield (
        f"{found.listed:,} objects x {found.rules} rules = {pairs:,}: {sum(found.not_matched.values()):,} not matched,"
        f" {found.matched:,} matched; {found.list_requests:,} LIST requests"
    )
    if found.balanced:
        yield "balanced: every match has its row, or was there before its rule"
        return
    for each in found.unaccounted[:SHOWN]:
        yield f"  unaccounted: {object_url(each.bucket, each.key)} (rule {each.rule})"
    newer = sum(each.newer for each in found.unaccounted)
    yield f"NOT balanced: the ledger knows nothing of {found.unaccounted_count:,} matches"
    if newer:
        yield f"{newer:,} of them are younger than the last complete pass: run it again after the next one"
    if newer < found.unaccounted_count:
        yield "for the others: oss-dispatcher explain --live URL tells what is known; backfill would start them"
