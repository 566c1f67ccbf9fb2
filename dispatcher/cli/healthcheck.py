"""`healthcheck`: asks the daemon of this configuration how it is. For containers, whose image needs no shell."""

import http.client
import json
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.invocation import invocation
from dispatcher.cli.output import say
from dispatcher.errors import DispatcherError, ExitCode

if TYPE_CHECKING:
    from dispatcher.core.settings import Address

WITHIN_SECONDS = 3.0
PROGRAM = "oss-dispatcher"
_LARGEST = 1 << 20
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a daemon listens on, not we
_BAD = ExitCode.OBJECTS_FAILED


def healthcheck(
    ctx: typer.Context,
    *,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether sightings can be committed now, not only for progress.")
    ] = False,
) -> None:
    """Ask the daemon on this machine whether it makes progress: 0, or 1 with the reason.

    The address is that of http.listen in the configuration. Every failure is a 1.
    """
    asked = invocation(ctx)
    try:
        address = asked.settings().http.listen
    except DispatcherError as error:
        say(f"error: {error.message}")
        raise typer.Exit(int(_BAD)) from error
    failure = ask(address, "/readyz" if ready else "/livez")
    if failure is not None:
        say(failure)
        raise typer.Exit(int(_BAD))
    asked.say("ok")


def ask(address: "Address", path: str) -> str | None:
    """Ask a probe; return why it is not well, None if it is. Never raises for what answers, or does not."""
    connection = http.client.HTTPConnection(
        _EVERYWHERE.get(address.host, address.host), address.port, timeout=WITHIN_SECONDS
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        status, body = answer.status, answer.read(_LARGEST)
    except (OSError, http.client.HTTPException) as error:
        return f"nothing answers on {address} ({type(error).__name__}): is the daemon running, and is that its address?"
    finally:
        connection.close()
    try:
        told = json.loads(body)
        ours = told["program"] == PROGRAM
        reasons = [f"{each['code']}: {each['detail']}" for each in told["reasons"]]
    except (ValueError, KeyError, TypeError):
        ours, reasons = False, []
    if not ours:
        return f"another program answers on {address}; write http: {{listen: 127.0.0.1:PORT}} for this daemon"
    return None if status == http.client.OK else "\n".join(reasons) or f"{path} answered {status}"
