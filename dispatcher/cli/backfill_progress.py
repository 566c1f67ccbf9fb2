"""How a running backfill is shown: a bar on a terminal, a JSON line now and then otherwise, both on stderr."""

from __future__ import annotations

import json
import sys
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dispatcher.cli.output import rfc3339
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.printable import printable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from dispatcher.cli.output import Json
    from dispatcher.service.backfilling.running import Progress

LINE_EVERY = timedelta(seconds=10)
BAR_EVERY = timedelta(seconds=1)
RATE_OVER = timedelta(seconds=30)
"""Time over which the rate of starts is measured."""
_KEY_SHOWN = 40


class StartRate:
    """How many rows started in a second, lately."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def after(self, progress: Progress) -> float:
        """Take the newest count; return the rate."""
        now, started = progress.at.timestamp(), progress.counts.of(DispatchState.STARTED)
        self._seen.append((now, started))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_OVER.total_seconds():  # noqa: PLR2004 - a rate needs two
            self._seen.popleft()
        first_at, first = self._seen[0]
        return max(0.0, (started - first) / (now - first_at)) if now > first_at else 0.0


def progress_json(progress: Progress, rate: float) -> dict[str, Json]:
    """Return the figures of one moment."""
    backfill, counts = progress.backfill, progress.counts
    return {
        "at": rfc3339(progress.at),
        "event": "backfill.progress",
        "backfill": backfill.number,
        "name": backfill.name,
        "recording": progress.recording,
        "sender": progress.sender.value,
        "listed": backfill.seen.listed,
        "matched": backfill.seen.matched,
        "known": backfill.seen.known,
        "recorded": backfill.recorded,
        "started": counts.of(DispatchState.STARTED),
        "failed": counts.of(DispatchState.DEAD),
        "unfinished": counts.unfinished,
        "running": counts.running,
        "rate_per_second": round(rate, 2),
        "reached": backfill.seen.reached,
    }


class Silent:
    """Shows nothing (`--quiet`)."""

    every = LINE_EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to end."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""


class Lines(Silent):
    """One line of JSON every ten seconds, for logs and for programs."""

    def __init__(self) -> None:
        self._rate = StartRate()

    def show(self, progress: Progress) -> None:
        """Write one line."""
        sys.stderr.write(json.dumps(progress_json(progress, self._rate.after(progress)), ensure_ascii=True) + "\n")
        sys.stderr.flush()

    def say(self, text: str) -> None:
        """Write one line, as JSON too."""
        sys.stderr.write(json.dumps({"event": "backfill.note", "message": text}, ensure_ascii=True) + "\n")
        sys.stderr.flush()


class Bar(Silent):
    """A bar that is drawn anew in its place: rows ended of those recorded, and the figures behind it."""

    every = BAR_EVERY

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - rich: only on a terminal
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - as above

        self._rate = StartRate()
        columns: list[Any] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            TextColumn("{task.fields[figures]}", markup=False),
        ]
        self._bar = Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
        self._task = self._bar.add_task("backfill", total=None, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Draw it."""
        counts = progress.counts
        ended = sum(counts.by_state.values()) - counts.unfinished
        self._bar.update(
            self._task,
            description="recording" if progress.recording else "sending",
            total=None if progress.recording else max(1, ended + counts.unfinished),
            completed=ended,
            figures=figures(progress, self._rate.after(progress)),
        )

    def say(self, text: str) -> None:
        """Write one line above the bar."""
        self._bar.console.print(printable(text), markup=False, soft_wrap=True)


def figures(progress: Progress, rate: float) -> str:
    """Return the figures beside the bar."""
    backfill, counts = progress.backfill, progress.counts
    text = (
        f"listed {backfill.seen.listed:,} · matched {backfill.seen.matched:,} · recorded {backfill.recorded:,} · "
        f"started {counts.of(DispatchState.STARTED):,} · failed {counts.of(DispatchState.DEAD):,} · {rate:.1f}/s"
    )
    reached = backfill.seen.reached
    return text if not progress.recording or reached is None else f"{text} · {_short(printable(reached))}"


def _short(key: str) -> str:
    return key if len(key) <= _KEY_SHOWN else f"…{key[1 - _KEY_SHOWN :]}"


def reporter(*, quiet: bool) -> Silent:
    """Return what suits stderr; use it in a `with`."""
    if quiet:
        return Silent()
    return Bar() if sys.stderr.isatty() else Lines()
