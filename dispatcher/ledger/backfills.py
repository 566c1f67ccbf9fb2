"""Backfills: what an operator asked to be started once, its rows, and where it stands.

A backfill is created, its rows are recorded in batches, and its recording is completed:

    made = backfills.create(tx, NewBackfill(BackfillKind.RERUN, fingerprint, scope, run=name), now)
    backfills.record(tx, made.number, rows, now)     # rows: NewDispatch with run=name; at most 1,000 a call
    backfills.complete(tx, made.number, now)

each in a transaction of its caller. Its rows are sent after all live ones, at its own pace
(`dispatcher/ledger/turns.py`), while it is running. Everything here is idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from dispatcher.core.backfilling import BackfillKind, BackfillState, Pace
from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.core.events import decode_key, encode_key
from dispatcher.core.quantities import format_rate, parse_rate
from dispatcher.ledger import recording
from dispatcher.ledger.holds import held
from dispatcher.ledger.tables import backfills, dispatches, in_state
from dispatcher.ledger.writing import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from dispatcher.ledger.recording import NewDispatch

_UNFINISHED = (DispatchState.PENDING, DispatchState.SENDING, DispatchState.UNCERTAIN)
_SECOND = timedelta(seconds=1)
_ACTIVE = backfills.c.state.in_([BackfillState.RUNNING, BackfillState.PAUSED])


@dataclass(frozen=True, slots=True)
class NewBackfill:
    """What is asked for. `fingerprint` is equal for the same request, `scope` JSON of what it covers.

    `most`: rows that it may record over all its runs. `name` empty: its run, or its kind and number.
    """

    kind: BackfillKind
    fingerprint: str
    scope: str
    run: str = ""
    name: str = ""
    most: int | None = None
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the bucket met: objects, objects that matched, rows known before, objects gone meanwhile."""

    listed: int = 0
    matched: int = 0
    known: int = 0
    gone: int = 0
    reached: str | None = None


@dataclass(frozen=True, slots=True)
class Backfill:
    """One backfill. `seen` is of its last look, `recorded` counts over all its runs.

    `recorded_at` is when all that it covers was recorded; `error` why its last look broke off.
    """

    number: int
    name: str
    kind: BackfillKind
    scope: str
    run: str
    state: BackfillState
    most: int | None
    pace: Pace
    until_at: datetime | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    recorded_at: datetime | None
    seen: Seen
    recorded: int
    error: str | None

    @property
    def left(self) -> int | None:
        """Rows that it may still record; None: any number."""
        return None if self.most is None else max(0, self.most - self.recorded)

    def expired(self, now: datetime) -> bool:
        """Tell whether the time in which it may send is over."""
        return self.state is BackfillState.RUNNING and self.until_at is not None and self.until_at <= now


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The rows of a backfill by state. `running`: tasks started and not seen to be finished."""

    by_state: Mapping[DispatchState, int]
    running: int

    @property
    def unfinished(self) -> int:
        """Rows that wait, are being sent, or whose call is uncertain."""
        return sum(self.by_state.get(state, 0) for state in _UNFINISHED)

    def of(self, state: DispatchState) -> int:
        """Return how many rows are in one state."""
        return self.by_state.get(state, 0)


@dataclass(frozen=True, slots=True)
class Written:
    """What `record` did. `stopped`: nothing, since the backfill may not go on. `full`: its limit is reached."""

    recorded: int = 0
    known: int = 0
    stopped: bool = False
    full: bool = False


def create(tx: Connection, new: NewBackfill, now: datetime) -> Backfill:
    """Return a new, running backfill without rows. Ask `unfinished` first: the same request is the same backfill."""
    number = tx.scalar(
        insert(backfills)
        .values(
            name=new.name or new.run,
            kind=new.kind,
            fingerprint=new.fingerprint,
            scope=new.scope,
            run=new.run,
            state=BackfillState.RUNNING,
            created_at=now,
            updated_at=now,
            most=new.most,
            listed=0,
            matched=0,
            known=0,
            gone=0,
            recorded=0,
            **_paced(new.pace, now),
        )
        .returning(backfills.c.number)
    )
    assert number is not None  # noqa: S101 - a statement that returns its row
    if not (new.name or new.run):
        _change(tx, number, now, name=f"{new.kind}-{number}")
    return get(tx, number)


def get(tx: Connection, number: int) -> Backfill:
    """Return one backfill. Raises sqlalchemy's NoResultFound for a number that was never given."""
    return _backfill(tx.execute(select(backfills).where(backfills.c.number == number)).one())


def find(tx: Connection, which: str) -> list[Backfill]:
    """Return the backfill of a number, or all of a name, the newest first."""
    condition = backfills.c.name == which
    if which.isascii() and which.isdigit() and len(which) <= 9:  # noqa: PLR2004 - fits an INTEGER
        condition = (backfills.c.number == int(which)) | condition
    return _select(tx, condition)


def everything(tx: Connection) -> list[Backfill]:
    """Return all backfills, the newest first; there are as many as operators asked for."""
    return _select(tx, backfills.c.number.is_not(None))


def active(tx: Connection) -> list[Backfill]:
    """Return those that are running or paused, the newest first."""
    return _select(tx, _ACTIVE)


def unfinished(tx: Connection, fingerprint: str) -> Backfill | None:
    """Return the running or paused backfill of the same request; None if there is none."""
    found = _select(tx, (backfills.c.fingerprint == fingerprint) & _ACTIVE)
    return found[0] if found else None


def runs(tx: Connection, run: str) -> bool:
    """Tell whether a backfill of any kind has used this run before."""
    return tx.execute(select(backfills.c.number).where(backfills.c.run == run).limit(1)).first() is not None


def counts(tx: Connection, number: int) -> RowCounts:
    """Return the rows of a backfill by state, and how many of its tasks are running."""
    table = dispatches.c
    rows = tx.execute(
        select(table.state, func.count().label("rows")).where(table.backfill == number).group_by(table.state)
    )
    return RowCounts({DispatchState(row.state): row.rows for row in rows}, running(tx, number))


def running(tx: Connection, number: int) -> int:
    """Return how many tasks of a backfill are started and not seen to be finished."""
    table = dispatches.c
    wanted = (table.backfill == number) & table.follow_at.is_not(None)
    return tx.scalar(select(func.count()).select_from(dispatches).where(wanted)) or 0


def has_unfinished(tx: Connection, number: int) -> bool:
    """Tell whether any row of a backfill waits, is being sent, or is uncertain. Cheap, however many there are."""
    return any(_some(tx, number, state) for state in _UNFINISHED)


def waits_for_operator(tx: Connection, number: int) -> bool:
    """Tell whether all unfinished rows of a backfill wait for an operator: of held rules, or held uncertain ones."""
    free = dispatches.c.rule_id.not_in(held(tx).keys())
    looked_for = func.coalesce(dispatches.c.reason, "") != StateReason.HELD
    return has_unfinished(tx, number) and not (
        _some(tx, number, DispatchState.SENDING)
        or _some(tx, number, DispatchState.PENDING, free)
        or _some(tx, number, DispatchState.UNCERTAIN, looked_for)
    )


def _some(tx: Connection, number: int, state: DispatchState, *more: ColumnElement[bool]) -> bool:
    which = select(dispatches.c.dispatch_id).where(in_state(state), dispatches.c.backfill == number, *more)
    return tx.execute(which.limit(1)).first() is not None


# -- recording --------------------------------------------------------------------------------------


def begin_look(tx: Connection, number: int, now: datetime) -> None:
    """Count anew what is seen: another look at the whole scope begins."""
    _change(tx, number, now, listed=0, matched=0, known=0, gone=0, reached=None, error=None, recorded_at=None)


def record(
    tx: Connection, number: int, rows: Sequence[NewDispatch], now: datetime, seen: Seen | None = None
) -> Written:
    """Insert the rows that are new, at most 1,000 a call and as many as the backfill may still record.

    Each gets the backfill's number and its lane. `seen` is added to what the look has met. Nothing is written
    unless the backfill is running and its time is not over.
    """
    current = get(tx, number)
    if current.state is not BackfillState.RUNNING or current.expired(now):
        return Written(stopped=True)
    wanted = [replace(row, backfill=number) for row in rows]
    fresh = recording.unknown(tx, wanted)
    new = fresh if current.left is None else fresh[: current.left]
    inserted = len(recording.record(tx, new, now).inserted)
    known = len(wanted) - len(fresh)
    met = seen or Seen()
    _change(
        tx,
        number,
        now,
        listed=backfills.c.listed + met.listed,
        matched=backfills.c.matched + met.matched,
        known=backfills.c.known + known + met.known,
        gone=backfills.c.gone + met.gone,
        recorded=backfills.c.recorded + inserted,
        **({} if met.reached is None else {"reached": encode_key(met.reached)}),
    )
    return Written(inserted, known, full=current.left is not None and inserted >= current.left)


def complete(tx: Connection, number: int, now: datetime) -> None:
    """Remember that all that the backfill covers is recorded: once its rows have ended it is done."""
    _change(tx, number, now, recorded_at=now, error=None)


def broke_off(tx: Connection, number: int, error: str, now: datetime) -> None:
    """Remember why a look broke off. What was recorded is sent all the same."""
    _change(tx, number, now, error=error)


# -- its life ---------------------------------------------------------------------------------------


def resume(
    tx: Connection, number: int, now: datetime, *, pace: Pace | None = None, most: int | None = None
) -> Backfill:
    """Let a paused or running backfill go (on): its window begins anew. `pace` and `most` replace the old ones.

    What lies in the bucket is looked at again, so that it is not done when its present rows have ended.
    """
    current = get(tx, number)
    values = _paced(current.pace if pace is None else pace, now)
    if current.kind is BackfillKind.BACKFILL:
        values["recorded_at"] = None
    _change(tx, number, now, state=BackfillState.RUNNING, most=current.most if most is None else most, **values)
    return get(tx, number)


def pause(tx: Connection, number: int, now: datetime) -> bool:
    """Send no more of a running backfill; tell whether it was running. What is under way ends."""
    return _turn(tx, number, BackfillState.PAUSED, now, BackfillState.RUNNING)


def cancel(tx: Connection, number: int, now: datetime) -> bool:
    """End a backfill; tell whether it had not ended. Then call `skip_cancelled` until it returns 0."""
    return _turn(tx, number, BackfillState.CANCELLED, now, BackfillState.RUNNING, BackfillState.PAUSED)


def skip_cancelled(tx: Connection, now: datetime, *, limit: int = BATCH) -> int:
    """Skip (OPERATOR) what waits of cancelled backfills; return how many, at most `limit`. Call until 0."""
    changed = 0
    for number in tx.scalars(select(backfills.c.number).where(backfills.c.state == BackfillState.CANCELLED)).all():
        waiting = in_state(DispatchState.PENDING) & (dispatches.c.backfill == number)
        some = select(dispatches.c.dispatch_id).where(waiting).limit(limit - changed)
        changed += tx.execute(
            update(dispatches)
            .where(dispatches.c.dispatch_id.in_(some))
            .values(state=DispatchState.SKIPPED, reason=StateReason.OPERATOR, next_at=None, updated_at=now)
        ).rowcount
        if changed >= limit:
            break
    return changed


def end_finished(tx: Connection, now: datetime) -> list[int]:
    """Mark running backfills as done whose recording is complete and whose rows have all ended; return them."""
    done = []
    for each in _select(tx, (backfills.c.state == BackfillState.RUNNING) & backfills.c.recorded_at.is_not(None)):
        if not has_unfinished(tx, each.number):
            _turn(tx, each.number, BackfillState.DONE, now, BackfillState.RUNNING)
            done.append(each.number)
    return done


# -- rows -------------------------------------------------------------------------------------------


def _turn(tx: Connection, number: int, to: BackfillState, now: datetime, *before: BackfillState) -> bool:
    values: dict[str, object] = {"state": to, "updated_at": now}
    if to.ended:
        values["ended_at"] = now
    which = (backfills.c.number == number) & backfills.c.state.in_(before)
    return tx.execute(update(backfills).where(which).values(**values)).rowcount > 0


def _change(tx: Connection, number: int, now: datetime, **values: object) -> None:
    tx.execute(update(backfills).where(backfills.c.number == number).values(updated_at=now, **values))


def _paced(pace: Pace, now: datetime) -> dict[str, object]:
    return {
        "max_rate": None if pace.max_rate is None else format_rate(pace.max_rate),
        "max_running": pace.max_running,
        "window_seconds": None if pace.window is None else round(pace.window / _SECOND),
        "until_at": None if pace.window is None else now + pace.window,
    }


def _select(tx: Connection, condition: ColumnElement[bool]) -> list[Backfill]:
    statement = select(backfills).where(condition).order_by(backfills.c.number.desc())
    return [_backfill(row) for row in tx.execute(statement)]


def _backfill(row: Row[tuple[object, ...]]) -> Backfill:
    return Backfill(
        number=row.number,
        name=row.name,
        kind=BackfillKind(row.kind),
        scope=row.scope,
        run=row.run,
        state=BackfillState(row.state),
        most=row.most,
        pace=Pace(
            max_rate=None if row.max_rate is None else parse_rate(row.max_rate),
            max_running=row.max_running,
            window=None if row.window_seconds is None else row.window_seconds * _SECOND,
        ),
        until_at=row.until_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        recorded_at=row.recorded_at,
        seen=Seen(
            row.listed,
            row.matched,
            row.known,
            row.gone,
            None if row.reached is None else decode_key(row.reached),
        ),
        recorded=row.recorded,
        error=row.error,
    )
