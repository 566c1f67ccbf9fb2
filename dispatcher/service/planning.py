"""`plan`: what a changed configuration would match, gain and lose in the live buckets. Nothing is called or written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.core.belonging import ids_of
from dispatcher.core.matching import minimal_prefixes
from dispatcher.core.planning import (
    Amount,
    Comparison,
    Effect,
    RuleFigures,
    RulePair,
    calls_of,
    only_in,
    pair_rules,
    silent_renames,
)
from dispatcher.core.pricing import add_costs
from dispatcher.core.problems import Problem, Severity
from dispatcher.ledger import planning
from dispatcher.ledger.recording import known_ids
from dispatcher.service import sampling
from dispatcher.service.checking import check
from dispatcher.service.reporting import started_workflow
from dispatcher.service.sampling import Basis, Look

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from dispatcher.core.calls import Api
    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.pricing import Prices
    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import BucketSettings, Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.sampling import SeekableLister

WHOLE = Look(Basis.WHOLE)


@dataclass(frozen=True, slots=True)
class Part:
    """One root that was looked at. `objects` were looked at of `of` (None: not known) that a snapshot has there."""

    bucket: str
    root: str
    basis: Basis
    objects: int
    of: int | None
    listed_at: datetime | None


@dataclass
class Plan:
    """What was found. `known_from` is the ledger's file, None if there is none: then nothing counts as dispatched.

    `prices` are those of the changed configuration.
    """

    pairs: tuple[RulePair, ...]
    figures: dict[str, RuleFigures]
    gained: list[Problem]
    lost: list[Problem]
    known_from: str | None
    prices: Prices | None = None
    parts: list[Part] = field(default_factory=list)

    @property
    def estimated(self) -> bool:
        """Whether any figure stands for more, or less, than was looked at."""
        return any(part.basis is not Basis.WHOLE for part in self.parts)

    @property
    def to_backfill(self) -> list[RulePair]:
        """The rules that match objects which they did not match before, and that nothing has started for them."""
        return [pair for pair in self.pairs if pair.after and self.figures[pair.id].gained_startable.objects]

    def calls(self) -> Counter[Api]:
        """Return the calls that a backfill of these rules would make: for all that they match and never started."""
        calls: Counter[Api] = Counter()
        for pair in self.to_backfill:
            if pair.after is not None:
                for api in calls_of(pair.after.action):
                    calls[api] += self.figures[pair.id].startable.objects
        return calls

    def cost(self) -> Decimal | None:
        """Return what that backfill would cost; None without prices, or if something of it has none."""
        if self.prices is None:
            return None
        starts = (
            self.prices.of_starts(pair.id, started_workflow(pair.after), self.figures[pair.id].startable.objects)
            for pair in self.to_backfill
        )
        return add_costs(*starts, self.prices.of_calls(self.calls()))


@dataclass
class Planner:
    """Compares two configurations over the buckets that either of them reads. One thread."""

    before: Settings
    after: Settings
    ledger: Ledger | None
    stores: Mapping[str, SeekableLister]
    stop: threading.Event
    progress: Callable[[int], None] = lambda _objects: None
    _looked_at: int = field(default=0, init=False)

    def plan(self, sample: int | None = None) -> Plan:
        """Look at every object, or at about `sample` of each root. Raises DispatcherError."""
        pairs = pair_rules(self.before.rules, self.after.rules)
        comparison = Comparison(self.before.rules, self.after.rules, pairs)
        then, now = check(self.before), [*_renames(pairs), *check(self.after)]
        made = Plan(
            pairs=pairs,
            figures={pair.id: RuleFigures() for pair in pairs},
            gained=only_in(now, then, pairs),
            lost=only_in(then, now, pairs),
            known_from=None if self.ledger is None else str(self.ledger.path),
            prices=self.after.prices,
        )
        wishes = self._wishes(pairs)
        for bucket, root in self._roots():
            look = WHOLE if sample is None else self._choose(bucket, root, sample)
            part: dict[str, RuleFigures] = {pair.id: RuleFigures() for pair in pairs}
            objects = 0
            for page in sampling.pages(bucket, self.stores[bucket.name], root, look, self.stop):
                objects += len(page)
                self._count(page, comparison, wishes, part)
                self._looked_at += len(page)
                self.progress(self._looked_at)
            self._add(made, part, Part(bucket.name, root, look.basis, objects, look.objects, look.listed_at))
        return made

    def _choose(self, bucket: BucketSettings, root: str, sample: int) -> Look:
        if self.ledger is None:
            return sampling.choose(None, bucket.name, root, sample)
        with self.ledger.read() as tx:
            return sampling.choose(tx, bucket.name, root, sample)

    @staticmethod
    def _add(made: Plan, figures: Mapping[str, RuleFigures], part: Part) -> None:
        spread = part.basis is Basis.SNAPSHOT and part.of is not None and part.objects > 0
        factor = part.of / part.objects if spread and part.of is not None else 1.0
        for rule_id, each in figures.items():
            made.figures[rule_id].plus(each, factor)
        made.parts.append(part)

    def _roots(self) -> Iterator[tuple[BucketSettings, str]]:
        """Yield the fewest prefixes under which every match of every rule of both sets lies."""
        for name in dict.fromkeys([*self.after.rules.buckets(), *self.before.rules.buckets()]):
            bucket = self.after.buckets.get(name) or self.before.buckets[name]
            for root in minimal_prefixes([*self.before.rules.roots(name), *self.after.rules.roots(name)]):
                yield bucket, root

    def _wishes(self, pairs: Sequence[RulePair]) -> dict[str, Rule]:
        """Return the rules whose wish for existing objects the daemon would fulfil after a restart."""
        done: frozenset[str] = frozenset()
        if self.ledger is not None:
            with self.ledger.read() as tx:
                done = planning.existing_done(tx)
        return {
            pair.id: pair.after
            for pair in pairs
            if pair.after is not None
            and pair.after.existing.dispatch
            and (pair.before is None or pair.before.id not in done)
        }

    def _count(
        self,
        page: Sequence[ObjectEvent],
        comparison: Comparison,
        wishes: Mapping[str, Rule],
        figures: Mapping[str, RuleFigures],
    ) -> None:
        matched: list[tuple[str, Effect, ObjectEvent]] = []
        for event in page:
            for rule_id, effect in comparison.effects(event.bucket, event.key, event.size):
                figures[rule_id].add(effect, (event.bucket, event.key), event.size)
                if effect is not Effect.LOST:
                    matched.append((rule_id, effect, event))
        known = self._dispatched(matched)
        for place, (rule_id, effect, event) in enumerate(matched):
            wished = rule_id in wishes and _wants(wishes[rule_id], event)
            figures[rule_id].add_state(effect, event.size, known=place in known, wished=wished)

    def _dispatched(self, matched: Sequence[tuple[str, Effect, ObjectEvent]]) -> set[int]:
        """Return which of these the ledger knows, by their place; by the ids of former names, too."""
        if self.ledger is None or not matched:
            return set()
        ids = [
            list(ids_of(self.after.rules.by_id[rule_id], event.bucket, event.key, event.etag, event.size or 0))
            if event.etag is not None
            else []
            for rule_id, _, event in matched
        ]
        with self.ledger.read() as tx:
            known = known_ids(tx, {each for some in ids for each in some})
        return {place for place, some in enumerate(ids) if not known.isdisjoint(some)}


def _wants(rule: Rule, event: ObjectEvent) -> bool:
    since = rule.existing.since
    return since is None or (event.modified_at is not None and event.modified_at >= since)


def _renames(pairs: Sequence[RulePair]) -> Iterator[Problem]:
    """Yield what a start of the new configuration would refuse, since the ledger could not tell what is meant."""
    for old, new in silent_renames(pairs):
        yield Problem(
            "rename",
            Severity.ERROR,
            (old, new),
            None,
            f"rule {old} is gone, and rule {new} has the same input and action: a start refuses this",
            f"if it is the same rule, write `id: {old}` or `was: [{old}]` in rule {new}",
        )


def total(figures: Mapping[str, RuleFigures], name: str) -> Amount:
    """Return one figure added up over the rules: an object that two rules match counts twice, as it starts twice."""
    found = Amount()
    for each in figures.values():
        found.plus(getattr(each, name), 1.0)
    return found
