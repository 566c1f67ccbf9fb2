"""The command `oss-dispatcher`: all commands, the options they share, and the one place where errors end.

Nothing heavy is imported here or by the command modules: `--help`, `check` and `explain` answer at once.
"""

# Annotations are read by typer at run time, so none is postponed here or in the command modules.
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dispatcher import __version__
from dispatcher.cli import backfill, batches, configuration, database, dispatches, events, jobs, quarantine, rules
from dispatcher.cli.audit import audit
from dispatcher.cli.checking import check
from dispatcher.cli.comparing import compare
from dispatcher.cli.demo import demo
from dispatcher.cli.explaining import explain
from dispatcher.cli.globals import to_the_front
from dispatcher.cli.healthcheck import healthcheck
from dispatcher.cli.invocation import CONFIG_VARIABLE, Invocation
from dispatcher.cli.output import Format, say
from dispatcher.cli.plan import plan
from dispatcher.cli.report import report as tell_account
from dispatcher.cli.running import run
from dispatcher.cli.simulator import simulator
from dispatcher.cli.status import status
from dispatcher.errors import DispatcherError

# pydantic looks for plugins in every installed distribution when it is first used, and there are none for us.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

EXIT_BUG = 70
EXIT_BROKEN_PIPE = 141
"""As a shell reports a program that ended because nobody read its output any more."""


class CommandLine(TyperGroup):
    """The root: takes the shared options anywhere on the line, and turns errors into exit codes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - the framework's private type
        return super().parse_args(ctx, to_the_front(args))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the framework's private types
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except DispatcherError as error:
            report(error)
            raise typer.Exit(int(error.exit_code)) from error
        except BrokenPipeError as error:
            # What is still buffered has no reader either; without this the interpreter complains at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_BROKEN_PIPE) from error
        return result


def report(error: DispatcherError) -> None:
    """Tell the operator what happened and what to do, on stderr."""
    first, *more = error.message.splitlines() or [""]
    say(f"error: {first}")
    for line in more:
        say(f"       {line}")
    say(f"hint: {error.hint}")


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer's callback protocol
    if asked:
        typer.echo(f"oss-dispatcher {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=CommandLine,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Options shown here may stand anywhere on the line: `oss-dispatcher check -o json`.",
)


@app.callback()
def root(  # noqa: PLR0913 - one parameter for each shared option
    ctx: typer.Context,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar=CONFIG_VARIABLE,
            metavar="FILE",
            help="The configuration; default: ./oss-dispatcher.yaml, then /etc/oss-dispatcher/oss-dispatcher.yaml.",
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="How data is printed on stdout.")] = Format.TABLE,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only data, warnings and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    version: Annotated[  # noqa: ARG001 - acts by its callback
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and leave."),
    ] = False,
) -> None:
    """Start a media workflow for every new object in a bucket, once for each matching rule."""
    ctx.obj = Invocation(config=config, output=output, quiet=quiet, verbose=verbose)


for command in (run, check, explain, plan, compare, status, audit, tell_account, healthcheck, simulator, demo):
    app.command()(command)
app.add_typer(dispatches.app, name="dispatches")
app.add_typer(backfill.app, name="backfill")
app.add_typer(rules.app, name="rules")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(events.app, name="events")
app.add_typer(jobs.app, name="jobs")
app.add_typer(batches.app, name="batches")
app.add_typer(configuration.app, name="config")
app.add_typer(database.app, name="db")


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape, not a crash.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        app()
    except Exception as error:  # noqa: BLE001 - the last place: whatever comes here is a bug, reported once
        if {"-v", "--verbose"} & set(sys.argv[1:]):
            traceback.print_exc()
        say(f"error: unexpected {type(error).__name__}; this is a defect of oss-dispatcher {__version__}")
        say("hint: run the command again with -v and report what it prints; what is in the ledger is safe")
        sys.exit(EXIT_BUG)
