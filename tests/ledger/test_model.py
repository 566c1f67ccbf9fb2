"""The ledger against a model that is too simple to be wrong.

Whatever happens in whatever order (sightings, claims, answers, lost answers, senders that die, late evidence,
absence, operators, pruning): no id is begun after the service is known to have started it, none is
started twice unless it is told, and no row is lost.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dispatcher.core.calls import Endpoint, WorkflowCall
from dispatcher.core.dispatch import DispatchState, StateReason, content_identity, dispatch_id
from dispatcher.core.outcomes import Outcome, Rejected, RetryAt, Started, Throttled, Uncertain, decide
from dispatcher.ledger import absence, browse, claiming, operating, pruning, recording, sending, settling
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.recording import NewDispatch
from dispatcher.ledger.sending import Incarnation
from dispatcher.ledger.settling import Settlement, TaskFound

if TYPE_CHECKING:
    from dispatcher.ledger.claiming import Claim

CALL = WorkflowCall(Endpoint("cn-hangzhou", "https://ice.example"), "wf", "{}", "{}")
KEYS = st.sampled_from(["a", "b", "c"])
CONTENTS = st.integers(0, 2)


@dataclass
class Service:
    """What really runs: tasks by (dispatch, attempt). The ledger learns of it piece by piece."""

    tasks: dict[tuple[str, int], str] = field(default_factory=dict)

    def start(self, claim: Claim) -> str:
        return self.tasks.setdefault((claim.dispatch.dispatch_id, claim.attempt), f"t{len(self.tasks)}")


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger.open(f"sqlite:///{Path(self.folder.name) / 'ledger.db'}")
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.service = Service()
        self.seen: set[str] = set()
        self.told: dict[str, set[str]] = {}  # dispatch -> tasks that the ledger was told of
        self.flying: list[tuple[Incarnation, Claim]] = []  # calls whose end is not settled; also of dead senders
        self.sender = Incarnation(0)

    @initialize()
    def first_sender(self) -> None:
        self.sender = self.ledger.become_sender(self.now)

    @rule(key=KEYS, content=CONTENTS, age=st.integers(0, 2))
    def see(self, key: str, content: int, age: int) -> None:
        made = dispatch_id("r", "b", key, content_identity("e", content))
        modified_at = datetime(2025, 1, 1 + age, tzinfo=UTC)
        row = NewDispatch(made, "r", "b", key, "e", content, "", "poll", modified_at)
        with self.ledger.write() as tx:
            done = recording.record(tx, [row], self.now)
        assert done.inserted == (() if made in self.seen else (made,))
        self.seen.add(made)

    @rule(seconds=st.integers(1, 4000))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        with self.ledger.write() as tx:
            rows = claiming.due(tx, rule_ids=["r"], now=self.now, limit=limit)
            claims = claiming.begin(tx, self.sender, [(row, row.attempt + 1, CALL) for row in rows], self.now)
        for each in claims:
            assert each.dispatch.dispatch_id not in self.told, "begun again although it is known to be started"
            assert (each.dispatch.dispatch_id, each.attempt) not in self.service.tasks
        self.flying += [(self.sender, each) for each in claims]

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), end=st.sampled_from(["started", "lost after", "lost before", "throttled", "rejected"]))
    def call_ends(self, data: st.DataObject, end: str) -> None:
        number = data.draw(st.integers(0, len(self.flying) - 1))
        sender, claim = self.flying.pop(number)
        outcome: Outcome = Uncertain("time-out")
        if end in {"started", "lost after"}:
            task = self.service.start(claim)
            if end == "started":
                outcome = Started(task)
                self.told.setdefault(claim.dispatch.dispatch_id, set()).add(task)
        elif end == "throttled":
            outcome = Throttled("Throttling.User")
        elif end == "rejected":
            outcome = Rejected("InvalidParameter")
        decision = decide(outcome, claim.attempted, now=self.now, probe_after=timedelta(seconds=60), chance=0.5)
        each = Settlement(claim.dispatch.dispatch_id, claim.attempt, outcome, decision, self.now)
        with self.ledger.write() as tx:
            settling.settle(tx, sender, [each], self.now)

    @rule()
    def sender_dies_and_another_comes(self) -> None:
        with self.ledger.write() as tx:
            self.sender = sending.begin_incarnation(tx, self.now, 1)
            sending.recover(tx, self.sender, self.now)

    @rule(status=st.sampled_from(["Processing", "Succeed", "Failed"]))
    def sweep(self, status: str) -> None:
        tasks = [TaskFound(each, number, task, status, self.now) for (each, number), task in self.service.tasks.items()]
        with self.ledger.write() as tx:
            done = settling.settle_evidence(tx, tasks, self.now)
        assert done.foreign == ()
        for (each, _), task in self.service.tasks.items():
            self.told.setdefault(each, set()).add(task)

    @rule()
    def prove_absence(self) -> None:
        started = {each for each, _ in self.service.tasks}
        flying = {claim.dispatch.dispatch_id for _, claim in self.flying}
        with self.ledger.write() as tx:
            rows = list(browse.select(tx, Selector(states=(DispatchState.UNCERTAIN,)), self.now))
            for row in rows:
                if row.dispatch_id not in started | flying:
                    retry = RetryAt(self.now, StateReason.BACKOFF)
                    assert absence.settle_absent(tx, row.dispatch_id, retry, self.now)

    @rule(verb=st.sampled_from([operating.retry, operating.skip, operating.probe]), key=KEYS)
    def operate(self, verb: operating.Verb, key: str) -> None:
        with self.ledger.write() as tx:
            verb(tx, Selector(key=key), self.now)

    @rule()
    def prune(self) -> None:
        with self.ledger.write() as tx:
            pruning.prune(tx, self.now - timedelta(hours=1), now=self.now)

    @invariant()
    def nothing_is_lost_and_what_is_known_to_run_is_started(self) -> None:
        with self.ledger.read() as tx:
            for each in self.seen:
                detail = browse.show(tx, each, self.now)
                assert detail is not None
                if each in self.told:
                    assert detail.state is DispatchState.STARTED
                    assert {detail.task_id, *detail.double_starts} == self.told[each]
                if detail.view is not None and detail.view.state is DispatchState.PENDING:
                    assert detail.view.next_at is not None

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TestLedger = LedgerMachine.TestCase
