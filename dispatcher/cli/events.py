"""`events decode`: what the body of a notification means, without a configuration and without a ledger."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.output import Format, Json, print_document, print_line, print_table, rfc3339
from dispatcher.core.decoding import Acceptance, DropReason, decode
from dispatcher.core.decoding import Format as WireFormat
from dispatcher.core.printable import printable
from dispatcher.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dispatcher.core.decoding import Decoded, Dropped
    from dispatcher.core.events import ObjectEvent

LARGEST = 64 * 1024 * 1024
"""Bytes: far more than any queue carries."""

app = typer.Typer(help="Notifications of other systems.", no_args_is_help=True)

_WHY = {
    DropReason.EVENT_TYPE: "it does not leave a new, complete object",
    DropReason.REPLICATION: "it arrived by replication; accept: [replication] takes it",
    DropReason.APPEND: "it was appended to and may grow; accept: [append] takes it",
    DropReason.TEST_EVENT: "the sender only tried whether it gets through",
    DropReason.SUBSCRIPTION: "a topic tells of its subscription",
    DropReason.FOLDER: "it is a directory",
    DropReason.NOT_AN_OBJECT: "it is the store's own file",
}


@app.callback()
def root() -> None:
    """Notifications of other systems."""


@app.command("decode")
def decode_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The body as it came; - reads it from stdin.")],
    *,
    form: Annotated[
        WireFormat | None, typer.Option("--format", help="What it is; default: told by the body's own marks.")
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option("--accept", metavar="EVENTS", help="Take these too: replication, append.")
    ] = None,
) -> None:
    """Print which objects a body tells of, what of it is dropped and why, and what means nothing."""
    unknown = set(accept or ()) - {"replication", "append"}
    if unknown:
        raise UsageError(f"--accept {min(unknown)}: there is no such kind", hint="write replication or append")
    accepted = Acceptance(replication="replication" in (accept or ()), append="append" in (accept or ()))
    decoded = decode(_read(file), form, source="events decode", accept=accepted)
    asked = invocation(ctx)
    if asked.output is Format.TABLE:
        _print(decoded)
    else:
        print_document(_json(decoded), asked.output)
    if decoded.undecodable:
        raise typer.Exit(int(ExitCode.OBJECTS_FAILED))


def _read(file: str) -> bytes:
    try:
        if file == "-":
            body = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(file).open("rb") as stream:
                body = stream.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", hint="name a file, or - for stdin") from None
    if len(body) > LARGEST:
        raise UsageError(f"{file} is larger than {LARGEST} bytes", hint="give one body, as one message carried it")
    return body


def _json(decoded: "Decoded") -> dict[str, Json]:
    return {
        "events": [_event_json(event) for event in decoded.events],
        "dropped": [_dropped_json(dropped) for dropped in decoded.dropped],
        "undecodable": [{"reason": reason} for reason in decoded.undecodable],
    }


def _event_json(event: "ObjectEvent") -> Json:
    return {
        "bucket": event.bucket,
        "key": event.key,
        "etag": event.etag,
        "size": event.size,
        "event_name": event.event_name,
        "happened_at": rfc3339(event.happened_at),
        "growing": event.growing,
        # Whether the object is asked for its content before anything starts.
        "head_decides": not event.decided,
    }


def _dropped_json(dropped: "Dropped") -> Json:
    return {"reason": dropped.reason.value, "event_name": dropped.event_name}


def _print(decoded: "Decoded") -> None:
    if decoded.events:
        print_table(
            ("bucket", "key", "etag", "size", "event", "content"),
            [
                (
                    event.bucket,
                    event.key,
                    event.etag,
                    event.size,
                    event.event_name,
                    "as told" if event.decided else "HEAD decides",
                )
                for event in decoded.events
            ],
        )
    for dropped in decoded.dropped:
        name = f" {printable(dropped.event_name)}" if dropped.event_name else ""
        print_line(f"dropped{name}: {dropped.reason} ({_WHY[dropped.reason]})")
    for reason in decoded.undecodable:
        print_line(f"means nothing: {reason}")
    if decoded == type(decoded)():
        print_line("it holds no event")
