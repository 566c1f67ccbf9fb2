"""`compare`: what this configuration started, or would have, beside what IMS did start. Changes nothing.

For taking over from another starter: beside it `run --shadow` records what would start, and this tells whether the
two agree. Starts of ours and tasks of theirs are matched by workflow and object, in a window of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.calls import TaskQuery
from dispatcher.core.comparing import Example, Ledgered, RuleComparison, Side, WhyTheirs, nearest_reason
from dispatcher.core.rules import Reason
from dispatcher.ledger import comparing, rulesets
from dispatcher.service.starts import pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from dispatcher.core.belonging import Start
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.comparing import OwnStart
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.starts import ServiceStarts

SLACK = timedelta(hours=1)
"""How far the two times of one start may lie apart: a listing sees an object later than a trigger does."""


@dataclass
class Comparison:
    """Figures by rule. `earlier`: tasks that began before their rule was there, which say nothing.

    `not_compared`: our starts of editing jobs, which the service lists without what they read, and of rules that
    are gone.
    """

    since: datetime
    until: datetime
    rules: dict[str, RuleComparison] = field(default_factory=dict)
    earlier: int = 0
    not_compared: int = 0

    @property
    def agrees(self) -> bool:
        """Whether nothing was started by one side only."""
        return all(
            not each.counts[Side.ONLY_OURS] and not each.counts[Side.ONLY_THEIRS] for each in self.rules.values()
        )

    def of(self, rule_id: str) -> RuleComparison:
        """Return the figures of a rule."""
        return self.rules.setdefault(rule_id, RuleComparison())


@dataclass(frozen=True)
class Comparer:
    """Compares one window. Reads the ledger and the service's task lists."""

    settings: Settings
    ledger: Ledger
    starts: ServiceStarts

    def compare(self, since: datetime, until: datetime) -> Comparison:
        """Return how the two agree in [since, until). Raises DispatcherError."""
        found = Comparison(since, until)
        for rule in self.settings.rules.rules:
            if rule.workflow_id is not None:
                found.of(rule.id)
        ours = Ledgered()
        with self.ledger.read() as tx:
            rule_since = rulesets.since(tx)
            for own in comparing.own_starts(tx, since - SLACK, until + SLACK):
                of = self._rule_and_workflow(own)
                if of is not None:
                    ours.put(of[1], own.bucket, own.key)
        for endpoint in self.starts.endpoints():
            for workflow_id in self.starts.workflows(endpoint):
                query = TaskQuery(endpoint, workflow_id, since - SLACK, until + SLACK)
                for page in pages(self.starts.tasks_of(query)):
                    self._take(page, ours, rule_since, found)
        self._leave(ours, found)
        return found

    def _rule_and_workflow(self, own: OwnStart) -> tuple[str, str] | None:
        """Return the present rule of a start of ours, and the workflow that it calls or called."""
        rule = next((rule for rule in self.settings.rules.rules if own.rule_id in (rule.id, *rule.was)), None)
        workflow = own.workflow_id or (None if rule is None else rule.workflow_id)
        return None if rule is None or workflow is None else (rule.id, workflow)

    def _take(
        self, page: Sequence[Start], ours: Ledgered, rule_since: Mapping[str, datetime], found: Comparison
    ) -> None:
        """Match a page of tasks; count those in the window that only they started."""
        unmatched: list[tuple[Start, tuple[str, str], WhyTheirs]] = []
        for start in page:
            place = self._object_of(start)
            if place is None:
                self._count_without_object(start, found)
                continue
            why = ours.take(start.workflow_id, *place)
            if why is not None and _within(start.created_at, found):
                unmatched.append((start, place, why))
        said = [(start, place, why, self._rule_of(start, place)) for start, place, why in unmatched]
        states = self._states((rule, place) for _, place, _, (rule, _) in said)
        for start, place, why, (rule, reason) in said:
            if start.created_at is not None and rule in rule_since and start.created_at < rule_since[rule]:
                found.earlier += 1
                continue
            told = _reason(why, reason, states.get((rule, place)))
            found.of(rule).add(Example(Side.ONLY_THEIRS, *place, start.created_at, start.task_id, told))

    @staticmethod
    def _object_of(start: Start) -> tuple[str, str] | None:
        return next(iter(start.objects), start.input)

    def _count_without_object(self, start: Start, found: Comparison) -> None:
        if _within(start.created_at, found):
            rule = next(rule.id for rule in self.settings.rules.rules if rule.workflow_id == start.workflow_id)
            found.of(rule).add(Example(Side.ONLY_THEIRS, "", "", start.created_at, start.task_id, WhyTheirs.NO_OBJECT))

    def _rule_of(self, start: Start, place: tuple[str, str]) -> tuple[str, Reason]:
        nearest = nearest_reason(self.settings.rules, start.workflow_id, *place)
        assert nearest is not None  # noqa: S101 - only workflows of rules are listed
        return nearest

    def _states(self, wanted: Iterable[tuple[str, tuple[str, str]]]) -> dict[tuple[str, tuple[str, str]], str]:
        by_rule: dict[str, list[tuple[str, str]]] = {}
        for rule, place in wanted:
            by_rule.setdefault(rule, []).append(place)
        with self.ledger.read() as tx:
            return {
                (rule, place): state
                for rule, places in by_rule.items()
                for place, state in comparing.states_of(tx, rule, places).items()
            }

    def _leave(self, ours: Ledgered, found: Comparison) -> None:
        """Count our starts in the window, matched or not."""
        with self.ledger.read() as tx:
            for own in comparing.own_starts(tx, found.since - SLACK, found.until + SLACK):
                of, within = self._rule_and_workflow(own), _within(own.at, found)
                if of is None:
                    found.not_compared += within
                    continue
                rule, workflow = of
                matched = ours.leave(workflow, own.bucket, own.key)
                if within:
                    side = Side.BOTH if matched else Side.ONLY_OURS
                    found.of(rule).add(Example(side, own.bucket, own.key, own.at, own.task_id))


def _within(at: datetime | None, found: Comparison) -> bool:
    return at is not None and found.since <= at < found.until


def _reason(why: WhyTheirs, verdict: Reason, state: str | None) -> str:
    if why is WhyTheirs.DOUBLE:
        return why
    if verdict is not Reason.MATCHED:
        return verdict
    return WhyTheirs.NOT_RECORDED if state is None else f"{WhyTheirs.OTHER_STATE}: {state}"
