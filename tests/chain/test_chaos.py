"""A thousand objects, every kind of trouble at once, a sender that keeps dying: still one start for each."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.simulator.faults import Fault, FaultPlan, FaultRate
from tests.chain.harness import rule

if TYPE_CHECKING:
    from tests.chain.harness import Chain

CRASH_POINTS = (
    "pass_begun",
    "before_record_commit",
    "after_record_commit:2",
    "between_snapshot_batches",
    "before_pass_end:2",
    "after_claim:5",
    "after_call:30",
    "before_settle:20",
    "after_settle:40",
    "sweep_page",
    "before_absence:2",
)
RANDOM_KILLS = 4
TROUBLE = FaultPlan(
    rates=(
        FaultRate(Fault.THROTTLE, 0.002),
        FaultRate(Fault.ERROR_BEFORE, 0.03),
        FaultRate(Fault.ERROR_AFTER, 0.03),
        FaultRate(Fault.HANG, 0.01),
        FaultRate(Fault.DROP, 0.02),
        FaultRate(Fault.DROP_BEFORE, 0.02),
        FaultRate(Fault.GARBLED, 0.02),
        FaultRate(Fault.ERROR_BEFORE, 0.05, "ListWorkflowTasks"),
    ),
    latency=timedelta(milliseconds=5),
    seed=20261122,
)


def keys() -> list[str]:
    """A thousand objects: some match one rule, some two, some all three, some none."""
    found = [f"in/x/{number:04}.mp4" for number in range(450)]
    found += [f"in/cam{number % 7}/{number:04}.MOV" for number in range(350)]
    found += [f"in/cam1/deep/{number:04}" for number in range(150)]
    return found + [f"in/x/{number:04}.txt" for number in range(50)]


def expected(objects: list[str]) -> Counter[tuple[str, str]]:
    """What plain prefixes and extensions say, written down a second time."""
    found: Counter[tuple[str, str]] = Counter()
    for key in objects:
        if key.endswith(".txt"):
            continue
        for name, prefix in (("all", "in/"), ("cam", "in/cam"), ("one", "in/cam1/")):
            if key.startswith(prefix):
                found[key, f"wf-{name}"] += 1
    return found


def put_all(chain: Chain, objects: list[str]) -> None:
    for key in objects:
        chain.put(key)


@pytest.mark.timeout(900)  # a score of daemons, one after another
def test_exactly_one_start_for_each_object_and_rule_through_kills_and_lost_answers(chain: Chain) -> None:
    chain.configure(rule("all", "in/"), rule("cam", "in/cam"), rule("one", "in/cam1/"), rate=120)
    chain.simulator.set_faults(TROUBLE)
    objects = keys()
    chance = random.Random(7)
    chance.shuffle(objects)
    assert chain.start(crash_at="pass_begun").wait(timeout=60) == -signal.SIGKILL
    assert chain.run_once() == 0  # the bucket was empty when it began: what comes now is new
    uploads = threading.Thread(target=put_all, args=(chain, objects))
    uploads.start()
    for point in CRASH_POINTS[1:]:
        daemon = chain.start(crash_at=point)
        chain.wait_until(lambda: daemon.poll() is not None, f"the crash at {point}")  # noqa: B023 - called in this turn
        assert daemon.returncode == -signal.SIGKILL, point
    for _ in range(RANDOM_KILLS):
        daemon = chain.start()
        more = chance.randint(20, 120)
        enough = min(len(chain.simulator.calls()) + more, len(expected(objects)))
        chain.wait_until(lambda: len(chain.simulator.calls()) >= enough, "some calls")  # noqa: B023 - as above
        chain.kill(daemon)
    uploads.join()
    wanted = expected(objects)
    last = chain.start()
    chain.wait_until(lambda: chain.states() == {"started": len(wanted)}, "all dispatches started", within=300)
    chain.wait_until(lambda: all(row.task_status == "Succeed" for row in chain.rows()), "all tasks final", within=120)
    assert chain.kill(last, signal.SIGTERM) == 0
    assert chain.accepted() == wanted
    assert not chain.log_lines("dispatch.double_start")
    assert not chain.log_lines("foreign_start")
