"""Watching the ledger for the probes: can it be committed to, and what in it should an operator know?

A tick looks; probes read what it saw. So a probe costs nothing, and is answered while the ledger is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.dispatch import DispatchState
from dispatcher.core.health import Condition
from dispatcher.core.quantities import format_duration
from dispatcher.errors import LedgerError
from dispatcher.ledger import holds, notices, rates, snapshots
from dispatcher.ledger.counting import by_open_state
from dispatcher.ledger.proving import prove
from dispatcher.service.documents.status import hint_of
from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.health import Health

EVERY = timedelta(seconds=15)
SOON = timedelta(seconds=2)
"""After a refusal: whoever waits for readiness should not wait long."""
_MOST_NOTES = 20
_NAMED_BUCKETS = 3


@dataclass
class LedgerWatch:
    """One look at the ledger for `health`. One thread. `troubles` tells what sources and listings had last."""

    settings: Settings
    ledger: Ledger
    health: Health
    clock: Callable[[], datetime]
    troubles: Callable[[], Iterable[Condition]]
    _refused: bool = field(default=False, init=False)

    def tick(self) -> timedelta:
        """Write, read, and tell; return when to look again. Never raises LedgerError: that is what it tells.

        A ledger that must be replaced ends the parts that work with it.
        """
        try:
            with self.ledger.write() as tx:
                prove(tx)
            with self.ledger.read() as tx:
                self._look(tx)
        except LedgerError as error:
            self.health.refused(error)
            if not self._refused:
                get_logger().error("health.not_ready", error=error.message, hint=error.hint)
            self._refused = True
            return SOON
        self.health.proven()
        if self._refused:
            get_logger().info("health.ready_again")
        self._refused = False
        return EVERY

    def _look(self, tx: Connection) -> None:
        notes = tuple(_conditions(tx))[:_MOST_NOTES] + tuple(self.troubles())[:_MOST_NOTES]
        self.health.notes = notes
        listed_at = snapshots.last_pass(tx)
        ago = None if listed_at is None else self.clock() - listed_at
        self.health.summary = summary_of(self.settings, by_open_state(tx), ago, notes)


def _conditions(tx: Connection) -> Iterator[Condition]:
    """Yield what keeps calls from being made; none of it keeps sightings from being recorded."""
    for notice in notices.standing(tx).values():
        yield Condition(str(notice.code), notice.detail, hint_of(notice))
    for target, health in rates.healths(tx).items():
        if health.paused_since is not None:
            code = "credentials" if health.unauthorized else "target_paused"
            detail = f"{target}: {health.pause_reason}"
            yield Condition(code, detail, "one call is tried every 30 s; see: oss-dispatcher status")
    for hold in holds.held(tx).values():
        detail = f"rule {hold.rule_id}: {hold.reason}: {hold.detail}"
        yield Condition("rule_held", detail, f"oss-dispatcher rules resume {hold.rule_id}")


def summary_of(
    settings: Settings,
    counts: Mapping[DispatchState, int],
    last_pass: timedelta | None,
    notes: tuple[Condition, ...],
) -> str:
    """Return one line for people: what is watched, what waits, when it was listed last, and what is wrong."""
    buckets = list(settings.rules.buckets())
    more = f" and {len(buckets) - _NAMED_BUCKETS} more" if len(buckets) > _NAMED_BUCKETS else ""
    rules = len(settings.rules.rules)
    told = [f"watching {', '.join(buckets[:_NAMED_BUCKETS])}{more}", f"{rules} rule{'s' if rules != 1 else ''}"]
    shown = {
        DispatchState.PENDING: "waiting",
        DispatchState.SENDING: "in flight",
        DispatchState.UNCERTAIN: "uncertain",
        DispatchState.DEAD: "dead",
    }
    told += [f"{counts[state]} {word}" for state, word in shown.items() if counts.get(state)]
    if last_pass is not None:
        whole_seconds = timedelta(seconds=round(max(0.0, last_pass.total_seconds())))
        told.append(f"last pass {format_duration(whole_seconds)} ago")
    if notes:
        told.append(f"{notes[0].code}: {notes[0].detail}" + (f" (and {len(notes) - 1} more)" if notes[1:] else ""))
    return "; ".join(told)
