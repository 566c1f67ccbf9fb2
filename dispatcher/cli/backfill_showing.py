"""What `backfill` prints: the dry run, the summary of a run, and the list."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.cli.output import Format, brief_time, print_document, print_line, print_table, rfc3339
from dispatcher.cli.tallies import TALLY_COLUMNS, size_text, tally_json, tally_rows
from dispatcher.core.backfilling import BackfillState
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.location import object_url
from dispatcher.core.pricing import money_text
from dispatcher.core.quantities import format_duration, format_rate
from dispatcher.service.documents.backfills import backfill_json, shown_state

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from dispatcher.cli.output import Json
    from dispatcher.ledger.backfills import Backfill, RowCounts
    from dispatcher.service.backfilling.estimating import Forecast
    from dispatcher.service.backfilling.running import Ended


def print_forecast(forecast: Forecast, at: datetime, output: Format) -> None:
    """Print what a backfill would do if it began at `at`."""
    if output is not Format.TABLE:
        print_document(forecast_json(forecast, at), output)
        return
    estimate = forecast.estimate
    print_table(TALLY_COLUMNS, tally_rows(estimate.rules))
    print_line()
    for rule, tally in estimate.rules.items():
        for bucket, key in tally.examples:
            print_line(f"{rule}: {object_url(bucket, key)}")
    starts = forecast.starts
    print_line()
    print_line(f"listed         {estimate.listed:,} objects with {estimate.list_requests:,} requests")
    if estimate.head_requests:
        print_line(f"to look at     {estimate.head_requests:,} objects, one HEAD request each")
    limited = f" (of {estimate.starts:,}: --limit)" if starts < estimate.starts else ""
    print_line(f"would start    {starts:,}{limited}")
    print_line(
        "calls          " + (", ".join(f"{api.value} {count:,}" for api, count in forecast.calls.items()) or "none")
    )
    if forecast.prices is not None:
        cost = "no price for all of it" if forecast.cost is None else money_text(forecast.cost)
        print_line(f"would cost     {cost} {forecast.prices.currency}, with this look")
    print_line(f"ledger         about {size_text(estimate.ledger_bytes(forecast.most))} more")
    print_line(f"would end      {brief_time(at + forecast.needed)} at the earliest, after {_about(forecast.needed)}")
    if estimate.unsized:
        print_line(f"note           of {estimate.unsized:,} objects the inventory does not tell the size")
    print_line("nothing was written, nothing was called")


def forecast_json(forecast: Forecast, at: datetime) -> dict[str, Json]:
    """Return the dry run for programs."""
    estimate = forecast.estimate
    return {
        "dry_run": True,
        "listed": estimate.listed,
        "matched": estimate.matched,
        "starts": forecast.starts,
        "known": estimate.total.known,
        "bytes": estimate.total.bytes,
        "unsized": estimate.unsized,
        "limit": forecast.most,
        "rules": tally_json(estimate.rules),
        "calls": {api.value: count for api, count in forecast.calls.items()},
        "list_requests": estimate.list_requests,
        "currency": None if forecast.prices is None else forecast.prices.currency,
        "cost": None if forecast.cost is None else money_text(forecast.cost),
        "head_requests": estimate.head_requests,
        "ledger_bytes": estimate.ledger_bytes(forecast.most),
        "seconds": round(forecast.needed.total_seconds(), 1),
        "ends_at": rfc3339(at + forecast.needed),
    }


def print_summary(ended: Ended, config: Path | None, output: Format) -> None:
    """Print how a run ended, and the command to go on with."""
    backfill, counts = ended.progress.backfill, ended.progress.counts
    following = next_command(ended, config)
    if output is not Format.TABLE:
        document = backfill_json(backfill, counts, ended.progress.at)
        print_document({**document, "ended": ended.why.name.lower(), "next": following}, output)
        return
    print_line(f"backfill {backfill.number} ({backfill.name}): {ended.why.value}")
    print_line(
        f"listed {backfill.seen.listed:,}, matched {backfill.seen.matched:,}, already dispatched"
        f" {backfill.seen.known:,}, gone {backfill.seen.gone:,}, recorded {backfill.recorded:,}"
    )
    states = ", ".join(f"{state.value} {counts.of(state):,}" for state in DispatchState if counts.of(state))
    print_line(f"rows: {states or 'none'}; tasks still running: {counts.running:,}")
    print_line(f"next: {following}")


def next_command(ended: Ended, config: Path | None) -> str:
    """Return the command with which an operator goes on."""
    backfill, counts = ended.progress.backfill, ended.progress.counts
    if backfill.state is BackfillState.CANCELLED:
        words = ["dispatches", "list", "--source", "backfill", "--state", "skipped"]
    elif backfill.state is BackfillState.PAUSED or counts.unfinished:
        words = ["backfill", "resume", str(backfill.number)]
    elif counts.of(DispatchState.DEAD):
        words = ["dispatches", "list", "--source", "backfill", "--state", "dead"]
    else:
        words = ["dispatches", "list", "--source", "backfill"]
    return shlex.join(["oss-dispatcher", *([] if config is None else ["-c", str(config)]), *words])


LIST_COLUMNS = (
    "number",
    "name",
    "state",
    "recorded",
    "started",
    "dead",
    "skipped",
    "left",
    "rate",
    "created",
    "reached",
)


def list_row(backfill: Backfill, counts: RowCounts, at: datetime) -> tuple[object, ...]:
    """Return one row of `backfill list`."""
    rate = backfill.pace.max_rate
    return (
        backfill.number,
        backfill.name,
        shown_state(backfill, counts, at),
        f"{backfill.recorded:,}",
        f"{counts.of(DispatchState.STARTED):,}",
        f"{counts.of(DispatchState.DEAD):,}",
        f"{counts.of(DispatchState.SKIPPED):,}",
        f"{counts.unfinished:,}",
        None if rate is None else format_rate(rate),
        brief_time(backfill.created_at),
        backfill.error or backfill.seen.reached,
    )


def _about(needed: timedelta) -> str:
    seconds = round(needed.total_seconds())
    return format_duration(timedelta(seconds=seconds)) if seconds < 120 else str(timedelta(seconds=seconds))  # noqa: PLR2004 - two minutes
