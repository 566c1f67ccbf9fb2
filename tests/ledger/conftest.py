from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.calls import Endpoint, WorkflowCall
from dispatcher.core.dispatch import content_identity, dispatch_id
from dispatcher.core.outcomes import decide
from dispatcher.ledger import browse, claiming, recording, rulesets, settling
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.recording import NewDispatch
from dispatcher.ledger.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.core.outcomes import Outcome
    from dispatcher.ledger.browse import DispatchDetail, DispatchView
    from dispatcher.ledger.claiming import Claim, DueDispatch
    from dispatcher.ledger.rulesets import RuleFacts
    from dispatcher.ledger.sending import Incarnation
    from dispatcher.ledger.settling import Settled


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger.open(url)
    yield opened
    opened.close()


@pytest.fixture
def sender(ledger: Ledger, now: datetime) -> Incarnation:
    return ledger.become_sender(now)


ENDPOINT = Endpoint("cn-hangzhou", "https://ice.cn-hangzhou.aliyuncs.com")


@dataclass
class Desk:
    """A ledger with its sender and a clock that only a test moves."""

    ledger: Ledger
    sender: Incarnation
    now: datetime

    def record(
        self,
        *keys: str,
        rule: str = "r",
        source: str = "poll",
        run: str = "",
        etag: str = "e",
        backfill: int | None = None,
    ) -> list[str]:
        rows = [
            NewDispatch(
                dispatch_id(rule, "b", key, content_identity(etag, 7), run),
                rule,
                "b",
                key,
                etag,
                7,
                run,
                source,
                None,
                backfill=backfill,
            )
            for key in keys
        ]
        with self.ledger.write() as tx:
            return list(recording.record(tx, rows, self.now).inserted)

    def due(self, *rules: str, limit: int = 100) -> list[DueDispatch]:
        with self.ledger.read() as tx:
            return claiming.due(tx, rule_ids=rules or ("r",), now=self.now, limit=limit)

    def claim(self, *rules: str, limit: int = 100) -> list[Claim]:
        with self.ledger.write() as tx:
            rows = claiming.due(tx, rule_ids=rules or ("r",), now=self.now, limit=limit)
            calls = [(row, row.attempt + 1, self.call(row)) for row in rows]
            return claiming.begin(tx, self.sender, calls, self.now)

    @staticmethod
    def call(row: DueDispatch) -> WorkflowCall:
        return WorkflowCall(ENDPOINT, "wf", f'{{"Media":"{row.dispatch_id}"}}', "{}")

    def settle(self, claim: Claim, outcome: Outcome, sender: Incarnation | None = None) -> Settled:
        decision = decide(outcome, claim.attempted, now=self.now, probe_after=timedelta(seconds=60), chance=0.5)
        each = Settlement(claim.dispatch.dispatch_id, claim.attempt, outcome, decision, self.now)
        with self.ledger.write() as tx:
            return settling.settle(tx, sender or self.sender, [each], self.now)[0]

    def find(self, dispatch: str, task_id: str = "t1", status: str = "Processing") -> settling.Evidenced:
        task = settling.TaskFound(dispatch, 1, task_id, status, self.now)
        with self.ledger.write() as tx:
            return settling.settle_evidence(tx, [task], self.now)

    def view(self, dispatch: str) -> DispatchView:
        with self.ledger.read() as tx:
            return next(browse.select(tx, Selector(ids=(dispatch,)), self.now))

    def detail(self, dispatch: str) -> DispatchDetail:
        with self.ledger.read() as tx:
            found = browse.show(tx, dispatch, self.now)
        assert found is not None
        return found

    def rules(self, *facts: RuleFacts) -> rulesets.Registered:
        with self.ledger.write() as tx:
            return rulesets.register(tx, facts, self.now)

    def later(self, **wait: float) -> None:
        self.now += timedelta(**wait)


@pytest.fixture
def desk(ledger: Ledger, sender: Incarnation, now: datetime) -> Desk:
    return Desk(ledger, sender, now)
