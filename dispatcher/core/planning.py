"""What a changed configuration would mean for the objects that are there: two rule sets, side by side. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import Api
from dispatcher.core.rules import EditingAction, InputType, WorkflowAction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dispatcher.core.problems import Problem
    from dispatcher.core.rules import Action, Rule, RuleSet

EXAMPLES = 3
"""Keys shown of what a rule gains and loses."""
_NAMING = frozenset({"id", "name", "was", "match_written"})


class RuleChange(StrEnum):
    """What becomes of a rule. RENAMED: another id takes its memory over, by `was:`."""

    KEPT = "kept"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"


class Effect(StrEnum):
    """What a change means for one rule and one object."""

    GAINED = "gained"
    LOST = "lost"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class RulePair:
    """A rule before and after; one of them is None if it was added or removed.

    `changed` names the settings that differ, in the order of the configuration's model.
    """

    before: Rule | None
    after: Rule | None
    change: RuleChange
    changed: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The id by which it is told: the new one, or that of a removed rule."""
        rule = self.after or self.before
        assert rule is not None  # noqa: S101 - a pair has one of the two
        return rule.id


def pair_rules(before: RuleSet, after: RuleSet) -> tuple[RulePair, ...]:
    """Return each rule of both sets once: those of the new set in its order, then those that are gone.

    Rules are the same by id; an id that `was:` names and that is gone is the same rule under another name.
    """
    pairs: list[RulePair] = []
    taken: set[str] = set()
    for rule in after.rules:
        former = before.by_id.get(rule.id)
        if former is None:
            former = next(
                (before.by_id[old] for old in rule.was if old in before.by_id and old not in after.by_id), None
            )
        if former is None:
            pairs.append(RulePair(None, rule, RuleChange.ADDED))
            continue
        taken.add(former.id)
        changed = _changed(former, rule)
        change = RuleChange.CHANGED if changed else RuleChange.KEPT
        pairs.append(RulePair(former, rule, change if former.id == rule.id else RuleChange.RENAMED, changed))
    gone = (rule for rule in before.rules if rule.id not in taken)
    return (*pairs, *(RulePair(rule, None, RuleChange.REMOVED) for rule in gone))


def _changed(before: Rule, after: Rule) -> tuple[str, ...]:
    names = (each.name for each in fields(before) if each.name not in _NAMING)
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def silent_renames(pairs: Iterable[RulePair]) -> Iterator[tuple[str, str]]:
    """Yield (old id, new id) of rules that a start would refuse: gone and added with the same input and action."""
    some = tuple(pairs)
    for gone in (pair.before for pair in some if pair.before is not None and pair.after is None):
        for new in (pair.after for pair in some if pair.after is not None and pair.before is None):
            if (gone.input, gone.action_name) == (new.input, new.action_name):
                yield gone.id, new.id


@dataclass(frozen=True)
class Comparison:
    """Judges objects by both rule sets. Immutable; any thread may ask it."""

    before: RuleSet
    after: RuleSet
    pairs: tuple[RulePair, ...]
    _new_ids: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        renamed = {pair.before.id: pair.id for pair in self.pairs if pair.before is not None}
        object.__setattr__(self, "_new_ids", renamed)

    def effects(self, bucket: str, key: str, size: int | None) -> Iterator[tuple[str, Effect]]:
        """Yield (id of the pair, effect) for each rule that matches the object before or after."""
        then = {self._new_ids[rule.id] for rule in self.before.matching(bucket, key, size)}
        for rule in self.after.matching(bucket, key, size):
            yield rule.id, Effect.UNCHANGED if rule.id in then else Effect.GAINED
            then.discard(rule.id)
        for lost in sorted(then):
            yield lost, Effect.LOST


@dataclass(slots=True)
class Amount:
    """Objects and their bytes."""

    objects: int = 0
    bytes: int = 0

    def add(self, size: int | None) -> None:
        """Count one object. A size that is not known counts as nothing."""
        self.objects += 1
        self.bytes += size or 0

    def plus(self, other: Amount, factor: float) -> None:
        """Add another amount, multiplied."""
        self.objects += round(other.objects * factor)
        self.bytes += round(other.bytes * factor)


@dataclass(slots=True)
class RuleFigures:
    """What was counted of one rule.

    `dispatched`: of what it matches now, what the ledger knows. `startable`: the rest, which a backfill would
    start; `gained_startable` is the part of it that is newly matched. `on_restart`: what the daemon would start by
    itself, since the rule wishes for existing objects.
    """

    gained: Amount = field(default_factory=Amount)
    lost: Amount = field(default_factory=Amount)
    unchanged: Amount = field(default_factory=Amount)
    dispatched: Amount = field(default_factory=Amount)
    startable: Amount = field(default_factory=Amount)
    gained_startable: Amount = field(default_factory=Amount)
    on_restart: Amount = field(default_factory=Amount)
    gained_examples: list[tuple[str, str]] = field(default_factory=list)
    lost_examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, effect: Effect, place: tuple[str, str], size: int | None) -> None:
        """Count one object that the rule gains, loses or keeps."""
        match effect:
            case Effect.GAINED:
                self.gained.add(size)
                _remember(self.gained_examples, place)
            case Effect.LOST:
                self.lost.add(size)
                _remember(self.lost_examples, place)
            case Effect.UNCHANGED:
                self.unchanged.add(size)
            case _:
                assert_never(effect)

    def add_state(self, effect: Effect, size: int | None, *, known: bool, wished: bool) -> None:
        """Count what would happen to an object that the rule matches now."""
        if known:
            self.dispatched.add(size)
            return
        self.startable.add(size)
        if effect is Effect.GAINED:
            self.gained_startable.add(size)
        if wished:
            self.on_restart.add(size)

    def plus(self, other: RuleFigures, factor: float) -> None:
        """Add the figures of a part of the bucket, multiplied where it stands for more than was looked at."""
        for name in ("gained", "lost", "unchanged", "dispatched", "startable", "gained_startable", "on_restart"):
            mine, more = getattr(self, name), getattr(other, name)
            mine.plus(more, factor)
        for place in other.gained_examples:
            _remember(self.gained_examples, place)
        for place in other.lost_examples:
            _remember(self.lost_examples, place)


def _remember(examples: list[tuple[str, str]], place: tuple[str, str]) -> None:
    if len(examples) < EXAMPLES:
        examples.append(place)


def calls_of(action: Action) -> tuple[Api, ...]:
    """Return the calls of one start."""
    match action:
        case WorkflowAction(input_type=InputType.MEDIA):
            return (Api.REGISTER_MEDIA_INFO, Api.START_WORKFLOW)
        case WorkflowAction():
            return (Api.START_WORKFLOW,)
        case EditingAction():
            return (Api.SUBMIT_MEDIA_PRODUCING_JOB,)
        case _:
            assert_never(action)


def only_in(these: Sequence[Problem], others: Sequence[Problem], pairs: Iterable[RulePair]) -> list[Problem]:
    """Return the problems of `these` that `others` do not have, whatever their rules are called now."""
    new_ids = {pair.before.id: pair.id for pair in pairs if pair.before is not None}

    def kind(problem: Problem) -> tuple[str, str, frozenset[str]]:
        return problem.code, problem.severity, frozenset(new_ids.get(rule, rule) for rule in problem.rules)

    there = Counter(map(kind, others))
    found: list[Problem] = []
    for problem in these:
        this = kind(problem)
        if there[this] > 0:
            there[this] -= 1
        else:
            found.append(problem)
    return found
