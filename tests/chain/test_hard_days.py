"""Hard days on the real process: what is away for a while, an asked leave, and a store that forgets itself."""

from __future__ import annotations

import re
import resource
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.errors import ExitCode
from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault
from tests.chain.gate import Gate, Passed
from tests.chain.harness import rule
from tests.chain.test_bad_input import ALL, baseline, once, told
from tests.chain.times import let_pass

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chain.harness import Chain

# -- away and back -----------------------------------------------------------------------------------


def test_while_the_service_is_away_rows_wait_without_attempts_and_then_go_out_once(chain: Chain) -> None:
    with Gate(chain.simulator.url) as gate:
        chain.configure(ALL, replaced={chain.simulator.url: gate.url})
        daemon = chain.start()
        chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
        chain.wait_until(lambda: bool(chain.log_lines("ledger.compared")), "a look at the service")
        gate.shut()
        chain.put("in/a.mp4")
        chain.put("in/b.mp4")
        waiting = [("pending", "PAUSED", 0)] * 2
        chain.wait_until(lambda: [(row.state, row.reason, row.attempts) for row in chain.rows()] == waiting, "a pause")
        assert "connection refused" in chain.command("status").stdout
        assert "check ims.endpoint" in chain.log_lines("target.paused")[0]["hint"]
        let_pass(chain, seconds=30)  # one trial goes, and is refused too
        chain.wait_until(lambda: len(chain.log_lines("dispatch.pending")) >= 2, "a trial call")
        gate.open()
        let_pass(chain, seconds=30)
        chain.wait_until(lambda: chain.accepted() == once("in/a.mp4", "in/b.mp4"), "both, once the service is back")
        assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    assert {row.attempts for row in chain.rows()} == {0}
    assert len(chain.log_lines("target.paused")) == len(chain.log_lines("target.resumed")) == 1


def test_while_the_store_is_away_the_daemon_stays_and_then_finds_what_came(chain: Chain) -> None:
    with Gate(chain.s3.endpoint) as gate:
        chain.configure(ALL, replaced={chain.s3.endpoint: gate.url})
        daemon = chain.start()
        chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
        gate.shut()
        chain.put("in/a.mp4")
        chain.wait_until(lambda: bool(chain.log_lines("pass.failed")), "a failed pass")
        assert "no answer" in told(chain, "pass.failed")
        assert "nothing is lost" in told(chain, "pass.failed")
        gate.open()
        chain.wait_until(lambda: chain.accepted() == once("in/a.mp4"), "the object, once the store is back")
        assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
        gate.shut()
        assert chain.run_once() == ExitCode.UNAVAILABLE


def test_a_store_that_lists_nothing_for_a_while_fires_nothing_when_all_is_back(chain: Chain) -> None:
    empty = False
    answers: list[str] = []

    def change(passed: Passed) -> bytes | None:
        answers.append("empty" if empty else "true")
        return re.sub(rb"<Contents>.*</Contents>", b"", passed.body, flags=re.DOTALL) if empty else passed.body

    for number in range(30):
        chain.put(f"in/old/{number:02}.mp4")
    with Gate(chain.s3.endpoint, change) as gate:
        chain.configure(ALL, replaced={chain.s3.endpoint: gate.url})
        daemon = chain.start()
        chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
        chain.put("in/a.mp4")
        chain.wait_until(lambda: chain.accepted() == once("in/a.mp4"), "a new object")
        empty = True
        chain.wait_until(lambda: answers.count("empty") >= 4, "three passes that saw nothing")
        assert chain.log_lines("listing.empty")
        empty = False
        chain.put("in/b.mp4")
        chain.wait_until(lambda: chain.accepted() == once("in/a.mp4", "in/b.mp4"), "the other new object")
        before = len(answers)
        chain.wait_until(lambda: len(answers) >= before + 3, "more passes")
        assert len(chain.rows()) == 2
        assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    assert chain.accepted() == once("in/a.mp4", "in/b.mp4")


def test_a_pass_that_breaks_half_way_misses_nothing_and_repeats_nothing(chain: Chain) -> None:
    broken = 0

    def change(passed: Passed) -> bytes | None:
        """Give the second half of the keys on a second page, which never comes while `broken` lasts."""
        nonlocal broken
        if broken == 0 or "list-type=2" not in passed.path:
            return passed.body
        if "continuation-token" in passed.path:
            broken -= 1
            return None
        entries = re.findall(rb"<Contents>.*?</Contents>", passed.body, flags=re.DOTALL)
        rest = b"".join(entries[len(entries) // 2 :])
        cut = passed.body.replace(rest, b"").replace(
            b"<IsTruncated>false</IsTruncated>",
            b"<IsTruncated>true</IsTruncated><NextContinuationToken>half</NextContinuationToken>",
        )
        assert cut != passed.body
        return cut

    keys = [f"in/{number:02}.mp4" for number in range(20)]
    with Gate(chain.s3.endpoint, change) as gate:
        chain.configure(ALL, replaced={chain.s3.endpoint: gate.url})
        assert chain.run_once() == ExitCode.DONE
        for key in keys:
            chain.put(key)
        broken = 4  # as often as one page is asked for in a pass
        assert chain.run_once() == ExitCode.UNAVAILABLE
        assert chain.accepted() == once()
        assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once(*keys)


# -- leaving -------------------------------------------------------------------------------------------


def test_sigterm_lets_calls_in_flight_end_and_leaves_nothing_unknown(chain: Chain) -> None:
    chain.configure(ALL, replaced={"600ms": "20s"})
    assert chain.run_once() == ExitCode.DONE
    chain.simulator.set_faults(FaultPlan(latency=timedelta(milliseconds=400)))
    keys = [f"in/{number:02}.mp4" for number in range(20)]
    for key in keys:
        chain.put(key)
    daemon = chain.start()
    chain.wait_until(lambda: chain.states()["sending"] > 0, "calls in flight")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    states = chain.states()
    assert states == {"started": states["started"], "pending": 20 - states["started"]}
    assert 0 < states["started"] < 20
    assert chain.log_lines("daemon.stopped")[-1]["drained"] is True
    chain.simulator.set_faults(FaultPlan())
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once(*keys)


def test_a_second_signal_leaves_at_once_and_nothing_starts_twice(chain: Chain) -> None:
    chain.configure(ALL, replaced={"600ms": "20s"})
    assert chain.run_once() == ExitCode.DONE
    chain.simulator.set_faults(FaultPlan(latency=timedelta(seconds=15)))
    chain.put("in/a.mp4")
    daemon = chain.start()
    chain.wait_until(lambda: bool(chain.accepted()), "a call in flight")
    daemon.send_signal(signal.SIGTERM)
    chain.wait_until(lambda: bool(chain.log_lines("daemon.draining")[1:]), "the drain")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=5) == ExitCode.STOPPED_EARLY
    assert chain.states() == {"sending": 1}
    chain.simulator.set_faults(FaultPlan())
    chain.configure(ALL)
    daemon = chain.start()
    chain.wait_until(lambda: chain.states() == {"started": 1}, "the call found among the tasks")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    assert chain.accepted() == once("in/a.mp4")


# -- the ledger's disk -------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_and_the_daemon_goes_on_when_there_is_room(chain: Chain) -> None:
    passes = 0

    def count(passed: Passed) -> bytes | None:
        nonlocal passes
        passes += 1
        return passed.body

    keys = [f"in/{number:02}.mp4" for number in range(10)]
    with Gate(chain.s3.endpoint, count) as gate:
        chain.configure(ALL, replaced={chain.s3.endpoint: gate.url})
        daemon = chain.start()
        chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
        # No file may grow beyond what it is: to the ledger, and to the log, the disk is full.
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        for key in keys:
            chain.put(key)
        before = passes
        chain.wait_until(lambda: passes >= before + 2, "two passes that cannot be written")
        assert chain.rows() == []
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        chain.wait_until(lambda: chain.accepted() == once(*keys), "all objects, once there is room")
        assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE


def test_a_disk_that_is_full_at_start_is_told(chain: Chain) -> None:
    chain.configure(ALL)
    small = ("prlimit", f"--fsize={64 * 1024}")
    done = chain.command("run", "--once", before=small)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "the disk is full or failing" in done.stderr
    assert "make room on the disk of the ledger" in done.stderr
    assert chain.run_once() == ExitCode.DONE
    chain.put("in/a.mp4")
    full = chain.command("run", "--once", before=small)
    assert full.returncode == ExitCode.UNAVAILABLE
    assert "make room on the disk of the ledger" in full.stderr
    assert chain.accepted() == once()
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/a.mp4")


def overwrite_all(ledger: Path) -> None:
    ledger.write_bytes(b"\xff" * ledger.stat().st_size)


def overwrite_pages(ledger: Path) -> None:
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:16_384] + b"\xff" * (len(whole) - 16_384))


@pytest.mark.parametrize("damage", [overwrite_all, overwrite_pages])
def test_a_damaged_ledger_is_refused_and_its_copy_goes_on(chain: Chain, damage: object) -> None:
    assert callable(damage)
    baseline(chain)
    chain.put("in/a.mp4")
    assert chain.run_once() == ExitCode.DONE
    assert chain.command("db", "backup", "copy.db").returncode == ExitCode.DONE
    chain.put("in/b.mp4")
    ledger = chain.home / "oss-dispatcher.db"
    damage(ledger)
    for command in (["run", "--once"], ["status"]):
        done = chain.command(*command)
        assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
        assert "is damaged or is not a ledger" in done.stderr
        assert "restore a copy made by `oss-dispatcher db backup`" in done.stderr
    (chain.home / "copy.db").replace(ledger)
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/a.mp4", "in/b.mp4")


def test_a_ledger_from_the_future_and_a_second_sender_are_refused(chain: Chain) -> None:
    baseline(chain)
    ledger = chain.home / "oss-dispatcher.db"
    with closing(sqlite3.connect(ledger)) as future, future:
        [(present,)] = future.execute("SELECT version_num FROM alembic_version")
        future.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in (["run"], ["status"]):
        done = chain.command(*command)
        assert done.returncode == ExitCode.UNAVAILABLE
        assert "revision 9999" in done.stderr
        assert "run the version that wrote it or a newer one" in done.stderr
    with closing(sqlite3.connect(ledger)) as future, future:
        future.execute("UPDATE alembic_version SET version_num = ?", (present,))
    daemon = chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("daemon.ready")), "the daemon")
    for more in ([], ["--once"], ["--shadow"]):
        second = chain.command("run", *more)
        assert second.returncode == ExitCode.UNAVAILABLE
        assert f"process {daemon.pid} is already dispatching" in second.stderr
    chain.put("in/a.mp4")
    chain.wait_until(lambda: chain.accepted() == once("in/a.mp4"), "the first daemon works on")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE


# -- what is unknown, and who else starts --------------------------------------------------------------------


def test_on_uncertain_hold_leaves_a_call_that_never_arrived_to_the_operator(chain: Chain) -> None:
    chain.configure(rule("all", "in/", on_uncertain="hold"))
    assert chain.run_once() == ExitCode.DONE
    chain.simulator.set_faults(FaultPlan(script=(ScriptedFault(Fault.DROP_BEFORE),)))
    chain.put("in/a.mp4")
    assert chain.run_once() == ExitCode.STOPPED_EARLY
    daemon = chain.start()
    held = [("uncertain", "HELD")]
    chain.wait_until(lambda: [(row.state, row.reason) for row in chain.rows()] == held, "the hold")
    assert chain.accepted() == once()
    assert "dispatches retry" in chain.command("explain", f"oss://{chain.bucket}/in/a.mp4", "--live").stdout
    assert chain.command("dispatches", "retry", "--state", "uncertain", "--yes").returncode == ExitCode.DONE
    chain.wait_until(lambda: chain.accepted() == once("in/a.mp4"), "the start that the operator asked for")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE


def test_a_foreign_start_shows_in_status_and_in_the_check(chain: Chain) -> None:
    baseline(chain)
    chain.put("in/a.mp4")
    task = chain.simulator.trigger("wf-all", f"oss://{chain.bucket}/in/a.mp4")
    daemon = chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("foreign_start")), "the foreign start")
    assert chain.log_lines("foreign_start")[0]["task_id"] == task
    assert "Trigger mode" in chain.log_lines("foreign_start")[0]["hint"]
    assert "foreign starts: 1" in chain.command("status").stdout
    online = chain.command("check", "--online", "-o", "json")
    assert online.returncode == ExitCode.DONE
    assert '"foreign_start"' in online.stdout
    assert "set Trigger mode to Manual" in online.stdout
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    assert chain.accepted() == once("in/a.mp4")
