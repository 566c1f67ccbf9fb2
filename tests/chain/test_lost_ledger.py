"""A deleted ledger: nothing is called before it knows again what was started, and nothing starts twice."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from dispatcher.errors import ExitCode
from tests.chain.harness import rule
from tests.chain.test_other_calls import MEDIA, RATES, SUBMIT, editing_rule

if TYPE_CHECKING:
    from tests.chain.harness import Chain

RULES = (rule("cut", "in/", existing="dispatch"), rule("cam", "in/cam", existing="dispatch"))
RENAMED = {"{name: cut,": "{name: cutter, was: [cut],"}
KEYS = [*(f"in/{n}.mp4" for n in range(8)), *(f"in/cam/{n}.mov" for n in range(4)), "in/späť %20+.mp4"]


def status(chain: Chain) -> Any:
    return json.loads(chain.command("status", "-o", "json").stdout)


def lose_ledger(chain: Chain) -> None:
    for each in chain.home.glob("oss-dispatcher.db*"):
        each.unlink()


def test_a_lost_ledger_is_rebuilt_and_nothing_starts_twice(chain: Chain) -> None:
    for key in KEYS:
        chain.put(key)
    chain.configure(*RULES)
    assert chain.run_once() == ExitCode.DONE
    started = chain.accepted()
    assert (len(started), set(started.values())) == (len(KEYS) + 4, {1})
    chain.put(KEYS[0], b"written again")  # what was started of it is not what lies there now
    lose_ledger(chain)

    # Also where a rule has another name meanwhile.
    chain.configure(*RULES, replaced=RENAMED)
    assert chain.run_once() == ExitCode.STOPPED_EARLY
    assert chain.accepted() == started
    [notice] = status(chain)["notices"]
    assert notice["code"] == "ledger_behind"
    assert "db adopt" in chain.log_lines("ledger.behind")[0]["hint"]

    # Killed in between, it goes on where it was.
    assert chain.crash("db", "adopt", "--yes", at="adopted_page") == -signal.SIGKILL
    assert status(chain)["notices"] != []
    adopted = json.loads(chain.command("db", "adopt", "--yes", "-o", "json").stdout)
    assert (adopted["known"], adopted["rows"], adopted["behind"]) == (len(started), 0, False)
    assert status(chain)["notices"] == []

    assert chain.run_once() == ExitCode.DONE
    again = chain.accepted() - started
    assert dict(again) == {(KEYS[0], "wf-cut"): 1}  # the content that nothing had started
    assert {row.rule for row in chain.rows()} == {"cutter", "cam"}


def test_jobs_and_tasks_of_media_assets_are_known_by_their_ids(chain: Chain) -> None:
    for key in KEYS[:3]:
        chain.put(key)
    chain.configure(editing_rule(), MEDIA, replaced=RATES)
    assert chain.run_once() == ExitCode.DONE
    jobs, tasks = len(chain.simulator.accepted(SUBMIT)), len(chain.simulator.calls())
    assert (jobs, tasks) == (3, 3)
    lose_ledger(chain)
    assert chain.run_once() == ExitCode.STOPPED_EARLY
    adopted = json.loads(chain.command("db", "adopt", "--yes", "-o", "json").stdout)
    assert (adopted["listed"], adopted["settled"], adopted["elsewhere"]) == (6, 6, 0)
    assert chain.run_once() == ExitCode.DONE
    assert (len(chain.simulator.accepted(SUBMIT)), len(chain.simulator.calls())) == (jobs, tasks)
    assert set(chain.states()) == {"started"}
