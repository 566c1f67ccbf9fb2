"""Faults on demand: what goes wrong with which call, by a script or by chance.

A `FaultPlan` is a value (settable at construction and over the admin path); `FaultDice` is its
running state: the script that is used up, and the seeded chance.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fault(StrEnum):
    """One way in which a call goes wrong. `accepted` tells whether the task starts all the same."""

    ERROR_BEFORE = "5xx-before"
    ERROR_AFTER = "5xx-after"
    UNAVAILABLE = "503-before"
    HANG_BEFORE = "hang-before"
    HANG = "accept-hang"
    DROP_BEFORE = "drop-before"
    DROP = "accept-drop"
    GARBLED_BEFORE = "garbled-before"
    GARBLED = "accept-garbled"
    NO_TASK_ID = "accept-no-task-id"
    EMPTY = "accept-empty"
    THROTTLE = "throttle"
    THROTTLE_RETRY_AFTER = "throttle-retry-after"
    THROTTLE_503 = "throttle-503"
    FORBIDDEN = "forbidden"
    NO_PERMISSION = "no-permission"
    ARREARS = "arrears"

    @property
    def accepted(self) -> bool:
        return self in _ACCEPTED


_ACCEPTED = frozenset({Fault.ERROR_AFTER, Fault.HANG, Fault.DROP, Fault.GARBLED, Fault.NO_TASK_ID, Fault.EMPTY})

START = "StartWorkflow"


@dataclass(frozen=True, slots=True)
class ScriptedFault:
    """The next `times` calls of `action` meet this fault; `fault` None lets them pass."""

    fault: Fault | None
    action: str = START
    times: int = 1


@dataclass(frozen=True, slots=True)
class FaultRate:
    """Each call of `action` meets this fault with this probability."""

    fault: Fault
    probability: float
    action: str = START


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Everything that goes wrong from now on.

    The script comes first, in order for each action; then chance. `denied` names actions that the
    account may not call, with the code of the refusal (HTTP 403), until the plan is replaced.
    Every answer is late by `latency`.
    """

    script: tuple[ScriptedFault, ...] = ()
    rates: tuple[FaultRate, ...] = ()
    denied: Mapping[str, str] = field(default_factory=dict)
    arrears: bool = False
    latency: timedelta = timedelta()
    seed: int = 0


class FaultDice:
    """Draws the fault of each call. Thread-safe; the same plan and order of calls give the same faults."""

    def __init__(self, plan: FaultPlan) -> None:
        self._lock = threading.Lock()
        self._plan = plan
        self._script = list(plan.script)
        self._random = random.Random(plan.seed)  # noqa: S311 - repeatable chance is the point

    @property
    def plan(self) -> FaultPlan:
        return self._plan

    @property
    def script_left(self) -> tuple[ScriptedFault, ...]:
        """The part of the script that no call has met yet."""
        with self._lock:
            return tuple(self._script)

    def replace(self, plan: FaultPlan) -> None:
        """Begin a new plan; what was left of the old script is dropped."""
        with self._lock:
            self._plan = plan
            self._script = list(plan.script)
            self._random = random.Random(plan.seed)  # noqa: S311 - as above

    def draw(self, action: str) -> Fault | None:
        """Return the fault of this call of `action`, None if it passes."""
        with self._lock:
            for index, scripted in enumerate(self._script):
                if scripted.action == action:
                    self._use_up(index, scripted)
                    return scripted.fault
            for rate in self._plan.rates:
                if rate.action == action and self._random.random() < rate.probability:
                    return rate.fault
            return None

    def _use_up(self, index: int, scripted: ScriptedFault) -> None:
        if scripted.times > 1:
            self._script[index] = replace(scripted, times=scripted.times - 1)
        else:
            del self._script[index]
