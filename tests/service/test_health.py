"""Health: what parts promise, what probes are told, and what never makes a probe fail."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.health import Condition
from dispatcher.core.outcomes import Unauthorized
from dispatcher.ledger import holds, notices, rates
from dispatcher.ledger.failures import LedgerFullError
from dispatcher.ledger.holds import HoldReason
from dispatcher.ledger.notices import NoticeCode
from dispatcher.service import watching
from dispatcher.service.health import AT_WORK, SLACK, Health
from dispatcher.service.orphans import Orphans
from dispatcher.service.watching import LedgerWatch
from tests.service.conftest import lines
from tests.service.fakes import TARGET

if TYPE_CHECKING:
    from tests.service.conftest import Log, Scene


@dataclass
class Seconds:
    """A monotonic clock that only a test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def later(self, wait: timedelta) -> None:
        self.now += wait.total_seconds()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def health(seconds: Seconds) -> Health:
    return Health(seconds)


def codes(conditions: tuple[Condition, ...]) -> list[str]:
    return [each.code for each in conditions]


def test_a_part_that_breaks_its_promise_fails_liveness_and_is_named(health: Health, seconds: Seconds) -> None:
    health.expect("worker", AT_WORK)
    health.expect("poll:b", timedelta(hours=1) + SLACK)
    seconds.later(AT_WORK)
    assert health.live().ok
    seconds.later(timedelta(seconds=1))
    [stuck] = health.live().reasons
    assert stuck.code == "stuck"
    assert stuck.detail == "worker: nothing was heard of it for 301 s"
    health.expect("worker", AT_WORK)
    assert health.live().ok


def test_one_of_several_commits_that_hangs_is_found(health: Health, seconds: Seconds) -> None:
    with health.committing():
        with health.committing():
            seconds.later(AT_WORK + SLACK)
            assert codes(health.live().reasons) == ["stuck", "stuck"]
        assert codes(health.live().reasons) == ["stuck"]
    assert health.live().ok


def test_readiness_is_whether_the_last_commit_went_through(health: Health) -> None:
    assert codes(health.ready().reasons) == ["starting", "not_proven"]
    health.started()
    health.proven()
    assert health.ready().ok
    with pytest.raises(LedgerFullError), health.committing():
        raise LedgerFullError("the disk is full", hint="make room")
    [reason] = health.ready().reasons
    assert (reason.code, reason.detail, reason.hint) == ("ledger_refuses", "the disk is full", "make room")
    assert health.live().ok
    assert health.startup().ok
    with health.committing():
        pass
    assert health.ready().ok


def test_while_leaving_only_the_drain_must_end_in_time(health: Health, seconds: Seconds) -> None:
    health.started()
    health.proven()
    health.expect("worker", AT_WORK)
    health.stopping(timedelta(seconds=40))
    health.expect("upkeep", timedelta(seconds=1))
    seconds.later(timedelta(seconds=40))
    assert health.live().ok
    assert codes(health.ready().reasons) == ["stopping"]
    seconds.later(timedelta(seconds=1))
    assert health.live().reasons[0].detail.startswith("drain")


def watch(scene: Scene, health: Health, *troubles: Condition) -> LedgerWatch:
    return LedgerWatch(scene.settings, scene.ledger, health, scene.clock, lambda: troubles)


def test_a_paused_target_and_a_ledger_behind_are_told_and_fail_nothing(scene: Scene) -> None:
    scene.record("in/a.mp4")
    with scene.ledger.write() as tx:
        rates.after_outcome(tx, TARGET, Unauthorized("Forbidden.RAM", "no"), scene.clock())
        notices.post(tx, NoticeCode.LEDGER_BEHIND, "task t1 carries an id", scene.clock())
        holds.hold(tx, "r", HoldReason.LOOP, "it writes under itself", scene.clock())
    health = Health()
    health.started()
    trouble = Condition("listing_failed", "bucket b: refused", "look at its policy")
    assert watch(scene, health, trouble).tick() == watching.EVERY
    found = health.ready()
    assert found.ok
    assert codes(found.notes) == ["ledger_behind", "credentials", "rule_held", "listing_failed"]
    assert all(note.hint for note in found.notes)
    assert health.summary == ("watching b; 1 rule; 1 waiting; ledger_behind: task t1 carries an id (and 3 more)")


def test_a_ledger_that_refuses_is_told_once_and_looked_at_again_soon(scene: Scene, log: Log) -> None:
    health = Health()
    health.started()
    looking = watch(scene, health)
    looking.tick()
    assert health.ready().ok
    scene.ledger.close()
    folder = scene.ledger.path.parent
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
    assert looking.tick() == looking.tick() == watching.SOON
    assert codes(health.ready().reasons) == ["ledger_refuses"]
    assert len(lines(log, "health.not_ready")) == 1


def test_a_look_writes_so_that_a_full_disk_would_be_seen(scene: Scene) -> None:
    wal = scene.ledger.path.with_name(scene.ledger.path.name + "-wal")
    looking = watch(scene, Health())
    before = wal.stat().st_size
    looking.tick()
    assert wal.stat().st_size > before


def test_the_first_process_of_a_container_reaps_what_nobody_waits_for() -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    other = Orphans(first=False)
    other.reap()
    other.reap()
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    first = Orphans(first=True)
    for _ in range(50):  # other tests may leave some, too
        first.reap()
    with pytest.raises(ChildProcessError):
        os.waitpid(child, 0)
