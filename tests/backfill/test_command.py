"""The command as a process, on moto and the simulator: alone, beside a daemon, paused, killed, and once more."""

from __future__ import annotations

import json
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.backfill.conftest import Yard

KEYS = [f"in/{number}.mp4" for number in range(16)] + [f"in/b/{number}.mp4" for number in range(4)]
STARTS = {**{(key, "wf-a"): 1 for key in KEYS}, **{(key, "wf-b"): 1 for key in KEYS if key.startswith("in/b/")}}


def test_alone_it_starts_what_lies_there_and_then_nothing_more(yard: Yard) -> None:
    yard.fill(*KEYS, "in/notes.txt", "elsewhere/1.mp4")
    first = yard.backfill("--yes")
    assert first.ended() == 0
    assert yard.accepted() == STARTS
    summary = first.data
    assert (summary["ended"], summary["state"]) == ("done", "done")
    assert (summary["listed"], summary["matched"], summary["recorded"]) == (21, 20, 24)
    assert summary["states"]["started"] == 24
    assert "this command sends by itself" in first.said
    assert yard.states() == {"started": 24}
    again = yard.backfill("--again", "new-template", "--rule", "b", "--yes")
    assert again.ended() == 0
    assert (again.data["recorded"], again.data["known"], again.data["run"]) == (4, 0, "new-template")
    assert yard.accepted() == {start: 1 + (start[1] == "wf-b") for start in STARTS}


def test_beside_a_daemon_it_records_and_the_daemon_sends(yard: Yard) -> None:
    yard.fill(*KEYS)
    yard.start()
    yard.wait_until(lambda: bool(yard.log.exists() and yard.log_lines("daemon.ready")), "the daemon is ready")
    run = yard.backfill("--yes")
    assert run.ended() == 0
    assert "this command records" in run.said
    assert yard.accepted() == STARTS
    assert {row.source for row in yard.rows()} == {"backfill"}


def test_ctrl_c_pauses_and_resume_goes_on(yard: Yard) -> None:
    yard.fill(*KEYS)
    run = yard.backfill("--yes", "--max-rate", "5/s")
    yard.wait_until(lambda: bool(yard.simulator.calls()), "some are started")
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 75
    summary = run.data
    assert (summary["ended"], summary["state"]) == ("asked", "paused")
    assert summary["next"].endswith(f"backfill resume {summary['backfill']}")
    accepted = sum(yard.accepted().values())
    assert 0 < accepted < 24
    left = yard.command("-o", "json", "dispatches", "list", "--state", "pending").stdout
    assert {(row["reason"], row["next_at"]) for row in json.loads(left)} == {("PAUSED", None)}
    [told] = json.loads(yard.command("-o", "json", "status").stdout)["backfills"]
    assert (told["state"], told["unfinished"]) == ("paused", 24 - accepted)
    resumed = yard.backfill("resume", str(summary["backfill"]), "--max-rate", "200/s")
    assert resumed.ended() == 0
    assert yard.accepted() == STARTS


@pytest.mark.parametrize("place", ["after_backfill_commit", "after_call:7"])
def test_killed_anywhere_it_is_continued_by_running_it_again(yard: Yard, place: str) -> None:
    yard.fill(*KEYS)
    assert yard.backfill("--yes", crash_at=place).ended() == -signal.SIGKILL
    again = yard.backfill("--yes")
    assert again.ended() == 0
    assert yard.accepted() == STARTS
    assert [each["state"] for each in yard.listed()] == ["done"]
    assert yard.states() == {"started": 24}


def test_a_daemon_that_starts_takes_the_sending_over(yard: Yard) -> None:
    yard.fill(*KEYS)
    run = yard.backfill("--yes", "--max-rate", "3/s")
    yard.wait_until(lambda: bool(yard.simulator.calls()), "some are started")
    yard.start()
    yard.wait_until(lambda: bool(yard.log.exists() and yard.log_lines("daemon.ready")), "the daemon is ready")
    yard.wait_until(lambda: "a daemon runs: it sends from now on" in run.said, "the command saw the daemon")
    assert yard.command("backfill", "resume", "1", "--max-rate", "300/s").returncode == 0
    assert run.ended() == 0
    assert yard.accepted() == STARTS


def test_cancelling_ends_the_command_and_skips_the_rest(yard: Yard) -> None:
    yard.fill(*KEYS)
    run = yard.backfill("--yes", "--max-rate", "3/s")
    yard.wait_until(lambda: bool(yard.simulator.calls()), "some are started")
    assert yard.command("backfill", "cancel", "1", "--yes").returncode == 0
    assert run.ended() == 75
    assert run.data["ended"] == "stopped"
    states = yard.states()
    assert set(states) == {"started", "skipped"}
    assert states["started"] == sum(yard.accepted().values())


class TestRunningTasks:
    """Tasks that take their time."""

    @pytest.fixture
    def task_duration(self) -> timedelta:
        return timedelta(milliseconds=600)

    def test_no_more_of_them_run_than_it_may_have(self, yard: Yard, task_duration: timedelta) -> None:
        yard.fill(*(f"in/{number}.mp4" for number in range(7)))
        assert yard.backfill("--yes", "--max-running", "3").ended() == 0
        starts = [entry.at for entry in yard.simulator.calls()]
        assert len(starts) == 7
        at_once = [sum(at <= other < at + task_duration for other in starts) for at in starts]
        assert max(at_once) <= 3
