"""`run`: the daemon."""

from typing import Annotated

import typer

from dispatcher.cli.invocation import invocation


def run(
    ctx: typer.Context,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="One pass of every bucket, send what is due, and leave.")
    ] = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="Record what would start, and call nothing.")] = False,
) -> None:
    """Watch the buckets and start workflows.

    Until SIGTERM or Ctrl-C. Logs go to stderr, as JSON outside a terminal.
    """
    asked = invocation(ctx)
    settings = asked.settings()
    # The daemon's own imports take a second; a wrong configuration is told before.
    from dispatcher.service import logs, running  # noqa: PLC0415

    logs.configure(verbose=asked.verbose, quiet=asked.quiet)
    raise typer.Exit(int(running.run(settings, once=once, shadow=shadow)))
