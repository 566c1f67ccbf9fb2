"""`compare`: what this configuration started, or would have, beside what IMS did start."""

import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.ledgers import now, reading
from dispatcher.cli.output import Format, Json, brief_time, print_document, print_line, print_table, rfc3339
from dispatcher.core.selecting import parse_time
from dispatcher.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dispatcher.core.comparing import Example
    from dispatcher.service.comparing import Comparison

TOO_YOUNG = timedelta(minutes=10)
"""What began later may not be seen by both yet."""


def compare(
    ctx: typer.Context,
    *,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Started since: 24h, 2026-01-31, or RFC 3339.")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Started before: as --since; default: 10m.")
    ] = None,
) -> None:
    """Compare what this configuration started, or would have (run --shadow), with what IMS did start.

    Exits with 1 if they differ. Changes nothing.
    """
    from dispatcher.service.comparing import Comparer  # noqa: PLC0415 - the ledger and the service
    from dispatcher.service.starts import open_starts  # noqa: PLC0415 - as above
    from dispatcher.targets.alibaba import AlibabaClients  # noqa: PLC0415 - as above

    asked = invocation(ctx)
    settings = asked.settings()
    at = now()
    begin = parse_time(since, "--since", at)
    end = at - TOO_YOUNG if until is None else parse_time(until, "--until", at)
    if end <= begin:
        raise UsageError("--until is not later than --since", hint="exchange the two, or write an earlier --since")
    with (
        reading(settings) as ledger,
        closing(AlibabaClients(settings.credentials, call_timeout=settings.call_timeout)) as clients,
    ):
        starts = open_starts(settings, clients, lambda _endpoint, _api: None, threading.Event())
        found = Comparer(settings, ledger, starts).compare(begin, end)
    if asked.output is Format.TABLE:
        _print(found)
    else:
        print_document(_json(found), asked.output)
    raise typer.Exit(int(ExitCode.DONE if found.agrees else ExitCode.OBJECTS_FAILED))


def _json(found: "Comparison") -> dict[str, Json]:
    from dispatcher.core.comparing import Side  # noqa: PLC0415

    return {
        "since_at": rfc3339(found.since),
        "until_at": rfc3339(found.until),
        "agrees": found.agrees,
        "earlier": found.earlier,
        "not_compared": found.not_compared,
        "rules": [
            {
                "rule": rule,
                **{side.value: each.counts[side] for side in Side},
                "reasons": dict(sorted(each.reasons.items())),
                "examples": [_example_json(example) for example in each.examples],
            }
            for rule, each in found.rules.items()
        ],
    }


def _example_json(example: "Example") -> Json:
    return {
        "side": example.side.value,
        "url": _url(example),
        "at": rfc3339(example.at),
        "task_id": example.task_id,
        "reason": example.reason or None,
    }


def _url(example: "Example") -> str | None:
    from dispatcher.core.location import object_url  # noqa: PLC0415

    return object_url(example.bucket, example.key) if example.bucket else None


def _print(found: "Comparison") -> None:
    from dispatcher.core.comparing import Side  # noqa: PLC0415

    rows = [(rule, *(each.counts[side] for side in Side)) for rule, each in found.rules.items()]
    title = f"started from {brief_time(found.since)} to {brief_time(found.until)}"
    print_table(("rule", "both", "only ours", "only theirs"), rows, title=title)
    for rule, each in found.rules.items():
        for example in each.examples:
            whose = "only ours" if example.side is Side.ONLY_OURS else "only theirs"
            task = f", task {example.task_id}" if example.task_id else ""
            why = f": {_sentence(example.reason)}" if example.reason else ""
            print_line(f"  {rule}, {whose}: {_url(example) or 'no object'} at {brief_time(example.at)}{task}{why}")
    if found.earlier:
        print_line(f"{found.earlier} tasks began before their rule was there, and are not compared")
    if found.not_compared:
        print_line(f"{found.not_compared} starts of ours are not compared: editing jobs, or of rules that are gone")
    print_line("both start the same" if found.agrees else "they differ")


_SENTENCES = {
    "NOT_RECORDED": "a rule matches, but it was not recorded: it lay there before, or no listing has brought it",
    "DOUBLE": "another task of theirs stands for it already",
    "NO_OBJECT": "the input of the task names no object",
}


def _sentence(reason: str) -> str:
    if reason in _SENTENCES:
        return _SENTENCES[reason]
    other, _, state = reason.partition(": ")
    return f"our dispatch of it is {state}" if state and other == "OTHER_STATE" else f"our rule says {reason}"
