"""What we started, or would have, beside what the service did start: matched object by object. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dispatcher.core.events import encode_key
from dispatcher.core.rules import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from dispatcher.core.rules import RuleSet

EXAMPLES = 5
"""Examples kept for each rule and side."""
_ELSEWHERE = (Reason.BUCKET, Reason.PREFIX)


class Side(StrEnum):
    """Who started an object."""

    BOTH = "both"
    ONLY_OURS = "only_ours"
    ONLY_THEIRS = "only_theirs"


class WhyTheirs(StrEnum):
    """Why a task of theirs has no dispatch of ours, beside the reasons of a verdict.

    NOT_RECORDED: a rule matches, and the ledger has nothing for it: it lay there before the rule, or no listing has
    brought it yet. OTHER_STATE: there is a dispatch that was neither started nor would have been. DOUBLE: another
    task of theirs stands for it already. NO_OBJECT: its input names no object.
    """

    NOT_RECORDED = "NOT_RECORDED"
    OTHER_STATE = "OTHER_STATE"
    DOUBLE = "DOUBLE"
    NO_OBJECT = "NO_OBJECT"


@dataclass(frozen=True, slots=True)
class Example:
    """One object that shows a difference. `task_id` None: there is no task. `reason` empty: it cannot be told."""

    side: Side
    bucket: str
    key: str
    at: datetime | None
    task_id: str | None = None
    reason: str = ""


@dataclass
class RuleComparison:
    """The figures of one rule, and the first examples of each difference."""

    counts: Counter[Side] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    def add(self, example: Example) -> None:
        """Count one start."""
        self.counts[example.side] += 1
        if example.side is Side.BOTH:
            return
        if example.reason:
            self.reasons[example.reason] += 1
        if sum(each.side is example.side for each in self.examples) < EXAMPLES:
            self.examples.append(example)


@dataclass
class Ledgered:
    """Our starts of a window by (workflow, object), as counts: a few bytes for each, whatever the key.

    Every one that a task of theirs takes is matched; `take` and `leave` are called in this order for all tasks, and
    then for all starts of ours.
    """

    _there: dict[bytes, int] = field(default_factory=dict)
    _taken: dict[bytes, int] = field(default_factory=dict)

    def put(self, workflow: str, bucket: str, key: str) -> None:
        """Remember one start of ours."""
        this = _digest(workflow, bucket, key)
        self._there[this] = self._there.get(this, 0) + 1

    def take(self, workflow: str, bucket: str, key: str) -> WhyTheirs | None:
        """Match one task of theirs; None if it has its start of ours, else whether one was there before it."""
        this = _digest(workflow, bucket, key)
        there, taken = self._there.get(this, 0), self._taken.get(this, 0)
        if there == 0:
            return WhyTheirs.NOT_RECORDED
        if taken == there:
            return WhyTheirs.DOUBLE
        self._taken[this] = taken + 1
        return None

    def leave(self, workflow: str, bucket: str, key: str) -> bool:
        """Tell whether one start of ours was matched; each match counts for one of equal starts."""
        this = _digest(workflow, bucket, key)
        taken = self._taken.get(this, 0)
        if taken:
            self._taken[this] = taken - 1
        return taken > 0


def _digest(workflow: str, bucket: str, key: str) -> bytes:
    text = b"\0".join([workflow.encode(), bucket.encode(), encode_key(key)])
    return hashlib.blake2b(text, digest_size=16).digest()


def nearest_reason(rules: RuleSet, workflow: str, bucket: str, key: str) -> tuple[str, Reason] | None:
    """Return the rule of this workflow that comes nearest to taking the object, and what it says; None without one.

    One that matches first, then one that binds the object's path and refuses it for another reason.
    """
    said: list[tuple[str, Reason]] = [
        (rule.id, rules.verdict(rule.id, bucket, key, None).reason)
        for rule in rules.rules
        if rule.workflow_id == workflow
    ]
    return _first(said, (Reason.MATCHED,)) or _first(said, set(Reason) - set(_ELSEWHERE)) or next(iter(said), None)


def _first(said: Iterable[tuple[str, Reason]], wanted: Iterable[Reason]) -> tuple[str, Reason] | None:
    some = frozenset(wanted)
    return next((each for each in said if each[1] in some), None)
