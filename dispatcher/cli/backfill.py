"""`backfill`: what lies in a bucket already, through the same rules, ledger and limiter as the daemon."""

import sys
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.backfill_request import Request, pace_of, scope_of
from dispatcher.cli.dispatches import confirmed
from dispatcher.cli.invocation import Invocation, invocation
from dispatcher.cli.ledgers import now, reading, writing
from dispatcher.cli.output import Format, print_document, print_line, print_records, print_table
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from dispatcher.core.estimates import Estimate
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.backfills import Backfill
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.backfilling.requesting import Prepared

ASK_ABOVE = 1_000
"""Starts above which a backfill shows what it would do and asks."""

app = typer.Typer(invoke_without_command=True)

Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Start at most so many, over all runs.")]
MaxRate = Annotated[str | None, typer.Option("--max-rate", metavar="RATE", help="Its own rate, such as 5/s or 600/m.")]
MaxRunning = Annotated[
    int | None, typer.Option("--max-running", min=1, metavar="N", help="At most so many unfinished tasks of it.")
]
For = Annotated[str | None, typer.Option("--for", metavar="DURATION", help="Send for so long, then pause: 8h.")]
Which = Annotated[str, typer.Argument(metavar="BACKFILL", help="Its number, or its name.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


@app.callback()
def backfill(  # noqa: PLR0913 - one parameter for each option
    ctx: typer.Context,
    *,
    rule: Annotated[
        list[str] | None, typer.Option("--rule", metavar="RULE", help="Only this rule; may be repeated.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", metavar="LOCATION", help="Only under this prefix or URL.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Last modified since: 30d, 2026-01-31, RFC 3339.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Last modified before: as --since.")
    ] = None,
    slack: Annotated[
        str, typer.Option("--slack", metavar="DURATION", help="Look so much further back than --since.")
    ] = "24h",
    limit: Limit = None,
    max_rate: MaxRate = None,
    max_running: MaxRunning = None,
    window: For = None,
    again: Annotated[
        str | None, typer.Option("--again", metavar="NAME", help="The same objects once more, as a run of this name.")
    ] = None,
    inventory: Annotated[
        str | None, typer.Option("--inventory", metavar="MANIFEST", help="Read this inventory's manifest.json.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what it would do; write and call nothing.")] = False,
    yes: Yes = False,
) -> None:
    """Start existing objects through the same rules, beside a running daemon or alone.

    What was dispatched before is not dispatched again. Ctrl-C pauses; the same command again, or
    `backfill resume`, goes on.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx, ctx.invoked_subcommand)
        return
    asked = invocation(ctx)
    settings = asked.settings()
    request = Request(
        scope_of(asked, settings, rule, prefix, since, until, slack, again, inventory),
        pace_of(max_rate, max_running, window),
        limit,
    )
    from dispatcher.service.backfilling.requesting import prepare  # noqa: PLC0415 - the services: a second

    prepared = prepare(settings, request.scope)
    if dry_run:
        _show_estimate(request, prepared, _estimate(asked, prepared), asked.output)
        return
    if _begun_before(settings, request) or _agreed(asked, request, prepared, yes=yes):
        _begin(asked, settings, request)


def _refuse_options(ctx: typer.Context, subcommand: str) -> None:
    """Refuse options in front of a subcommand: they would mean nothing, and are easily taken to mean something."""
    given = [name for name in ctx.params if (source := ctx.get_parameter_source(name)) and source.name == "COMMANDLINE"]
    if given:
        raise UsageError(
            f"options of `backfill` stand before `{subcommand}`, where they mean nothing",
            hint=f"write them behind it: oss-dispatcher backfill {subcommand} --help shows which it takes",
        )


# -- before it begins ---------------------------------------------------------------------------------


def _estimate(asked: Invocation, prepared: "Prepared") -> "Estimate":
    from dispatcher.service.backfilling.estimating import Estimating  # noqa: PLC0415 - the services

    stop = threading.Event()
    asked.say("looking at what would start; nothing is written")
    with _existing_ledger(prepared.settings) as ledger:
        told = _counted(asked)
        return Estimating(prepared.matching, ledger, told).estimate(prepared.objects(stop), stop)


def _counted(asked: Invocation) -> "Callable[[Estimate], None]":
    """Return what tells of the estimate now and then: each time it has grown tenfold, or by a million."""
    beyond = 100_000

    def tell(estimate: "Estimate") -> None:
        nonlocal beyond
        if estimate.listed >= beyond:
            beyond += min(beyond * 9, 1_000_000)
            asked.say(f"listed {estimate.listed:,}, matched {estimate.matched:,} so far")

    return tell


def _show_estimate(request: Request, prepared: "Prepared", estimate: "Estimate", output: Format) -> None:
    from dispatcher.cli.backfill_showing import print_forecast  # noqa: PLC0415 - with the rest of the work
    from dispatcher.service.backfilling.estimating import forecast  # noqa: PLC0415 - as above

    print_forecast(forecast(prepared.settings, estimate, request.pace.max_rate, request.most), now(), output)


def _begun_before(settings: "Settings", request: Request) -> bool:
    from dispatcher.ledger import backfills  # noqa: PLC0415 - SQLAlchemy

    with _existing_ledger(settings) as ledger:
        if ledger is None:
            return False
        with ledger.read() as tx:
            return backfills.unfinished(tx, request.scope.fingerprint()) is not None


def _agreed(asked: Invocation, request: Request, prepared: "Prepared", *, yes: bool) -> bool:
    """Tell whether it shall begin. Raises UsageError where it has to be asked and nobody is there."""
    if yes or (request.most is not None and request.most <= ASK_ABOVE):
        return True
    if not request.narrow and not sys.stdin.isatty():
        raise UsageError(
            "this would start everything that the rules match, and nobody is there to confirm it",
            hint="see what it would start with --dry-run, then repeat with --yes; or narrow it: --rule, --prefix,"
            " --since, --limit",
        )
    estimate = _estimate(asked, prepared)
    starts = request.starts(estimate)
    if request.narrow and starts <= ASK_ABOVE:
        return True
    if starts == 0:
        asked.say("nothing would start: all that matches was dispatched before")
        return True
    _show_estimate(request, prepared, estimate, Format.TABLE)
    return confirmed(f"start {starts:,} workflows or jobs", yes=False)


@contextmanager
def _existing_ledger(settings: "Settings") -> "Iterator[Ledger | None]":
    """Open the ledger for reading; None if there is none yet. Raises LedgerError for one that cannot be read."""
    from dispatcher.ledger import place  # noqa: PLC0415 - SQLAlchemy

    if not place.path_of(settings.ledger.url).exists():
        yield None
        return
    with reading(settings) as ledger:
        yield ledger


# -- running it ---------------------------------------------------------------------------------------


def _begin(asked: Invocation, settings: "Settings", request: Request) -> None:
    from dispatcher.ledger.engine import Ledger  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.backfilling import requesting  # noqa: PLC0415 - the services

    with closing(Ledger.open(settings.ledger.url)) as ledger:
        with ledger.write() as tx:
            found, before = requesting.request(tx, request.scope, request.pace, request.most, now())
        asked.say(f"{'going on with' if before else 'began'} backfill {found.number} ({found.name})")
        run_backfill(asked, settings, ledger, found)


def run_backfill(asked: Invocation, settings: "Settings", ledger: "Ledger", found: "Backfill") -> None:
    """Run a backfill until it ends, show it meanwhile and its summary then; leave with its exit code.

    The first SIGINT or SIGTERM pauses it, a second one leaves at once.
    """
    from dispatcher.cli.backfill_progress import reporter  # noqa: PLC0415 - with the rest of the work
    from dispatcher.cli.backfill_showing import print_summary  # noqa: PLC0415 - as above
    from dispatcher.service import logs  # noqa: PLC0415 - the services
    from dispatcher.service.backfilling import requesting  # noqa: PLC0415 - as above
    from dispatcher.service.running import tell_problems  # noqa: PLC0415 - as above
    from dispatcher.service.stopping import Stop  # noqa: PLC0415 - as above

    stop = Stop()
    stop.listen()
    logs.configure(verbose=asked.verbose, quiet=not asked.verbose)
    tell_problems(settings)
    with reporter(quiet=asked.quiet) as shown:
        ended = requesting.run(settings, ledger, found, reporter=shown, clock=now, stop=stop.event)
    print_summary(ended, asked.config, asked.output)
    raise typer.Exit(int(ended.exit_code))


@app.command()
def resume(  # noqa: PLR0913 - one parameter for each option
    ctx: typer.Context,
    which: Which,
    *,
    limit: Limit = None,
    max_rate: MaxRate = None,
    max_running: MaxRunning = None,
    window: For = None,
) -> None:
    """Go on with a backfill that was paused or broke off; options replace those it had."""
    from dispatcher.service.backfilling import requesting  # noqa: PLC0415 - the services

    asked = invocation(ctx)
    settings = asked.settings()
    pace = pace_of(max_rate, max_running, window)
    with writing(settings) as ledger:
        with ledger.write() as tx:
            found = requesting.go_on(tx, _one(ledger, which), pace, limit, now())
        run_backfill(asked, settings, ledger, found)


# -- the others ---------------------------------------------------------------------------------------


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List backfills and reruns, the newest first."""
    from dispatcher.cli.backfill_showing import LIST_COLUMNS, list_row  # noqa: PLC0415
    from dispatcher.ledger import backfills  # noqa: PLC0415 - SQLAlchemy
    from dispatcher.service.documents.backfills import backfill_json  # noqa: PLC0415 - as above

    asked = invocation(ctx)
    at = now()
    with reading(asked.settings()) as ledger, ledger.read() as tx:
        found = [(each, backfills.counts(tx, each.number)) for each in backfills.everything(tx)]
    if asked.output is not Format.TABLE:
        print_records((backfill_json(each, counts, at) for each, counts in found), asked.output)
        return
    print_table(LIST_COLUMNS, (list_row(each, counts, at) for each, counts in found))


@app.command()
def pause(ctx: typer.Context, which: Which) -> None:
    """Send no more of a backfill until it is resumed; calls under way end."""
    from dispatcher.ledger import backfills  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    with writing(asked.settings()) as ledger:
        found = _one(ledger, which)
        with ledger.write() as tx:
            done = backfills.pause(tx, found.number, now())
    _tell(asked, found, "paused", done=done, more=f"oss-dispatcher backfill resume {found.number} goes on with it")


@app.command()
def cancel(ctx: typer.Context, which: Which, *, yes: Yes = False) -> None:
    """End a backfill: what of it was never sent is skipped."""
    from dispatcher.ledger import backfills  # noqa: PLC0415 - SQLAlchemy

    asked = invocation(ctx)
    with writing(asked.settings()) as ledger:
        found = _one(ledger, which)
        with ledger.read() as tx:
            left = backfills.counts(tx, found.number).unfinished
        if not confirmed(f"cancel backfill {found.number} ({found.name}) with {left:,} rows left", yes=yes):
            return
        with ledger.write() as tx:
            done = backfills.cancel(tx, found.number, now())
        _in_batches(ledger, now())
    _tell(asked, found, "cancelled", done=done, more="what was skipped: oss-dispatcher dispatches list --state skipped")


def _in_batches(ledger: "Ledger", at: "datetime") -> None:
    from dispatcher.ledger import backfills  # noqa: PLC0415 - SQLAlchemy

    more = True
    while more:
        with ledger.write() as tx:
            more = backfills.skip_cancelled(tx, at) > 0


def _tell(asked: Invocation, found: "Backfill", what: str, *, done: bool, more: str) -> None:
    if asked.output is not Format.TABLE:
        print_document({"backfill": found.number, "name": found.name, "changed": done}, asked.output)
    elif done:
        print_line(f"backfill {found.number} ({found.name}) is {what}; {more}")
    else:
        print_line(f"backfill {found.number} ({found.name}) is {found.state.value}: nothing was changed")


def _one(ledger: "Ledger", which: str) -> "Backfill":
    """Return the backfill that a number or a name means: of several of a name the one that has not ended."""
    from dispatcher.ledger import backfills  # noqa: PLC0415 - SQLAlchemy

    with ledger.read() as tx:
        found = backfills.find(tx, which)
    open_ = [each for each in found if not each.state.ended]
    chosen = open_ or found[:1]
    if not chosen:
        raise UsageError(f"there is no backfill {which}", hint="see: oss-dispatcher backfill list")
    if len(chosen) > 1:
        numbers = ", ".join(str(each.number) for each in chosen)
        raise UsageError(f"there are several backfills {which}: {numbers}", hint="name one by its number")
    return chosen[0]
