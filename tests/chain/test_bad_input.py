"""Bad input on the real process: what the operator reads, the exit code, and nothing lost once it is mended."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.settings import Secret
from dispatcher.demo.s3server import S3Server
from dispatcher.errors import ExitCode
from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedWorkflow, SimulatorSettings
from tests.chain.harness import Chain, rule
from tests.chain.times import let_pass

if TYPE_CHECKING:
    from pathlib import Path

    from tests.launching import Launcher


ALL = rule("all", "in/")


@pytest.fixture
def offline(tmp_path: Path, launcher: Launcher) -> Chain:
    """A chain of which only the program is used: nothing runs behind it."""
    nowhere = S3Server("http://127.0.0.1:1", "us-east-1", "none", Secret("no-secret-at-all"), tmp_path / "weed.log")
    return Chain(tmp_path, "none", nowhere, client=None, simulator=Simulator(SimulatorSettings()), launcher=launcher)


def once(*keys: str, workflow: str = "wf-all") -> Counter[tuple[str, str]]:
    """Return the journal in which each key was started once."""
    return Counter(dict.fromkeys([(key, workflow) for key in keys], 1))


def baseline(chain: Chain) -> None:
    """Make the first listing of an empty bucket: what comes later is new."""
    chain.configure(ALL)
    assert chain.run_once() == ExitCode.DONE


def told(chain: Chain, event: str) -> str:
    """Return what the last line of this event says, and its hint."""
    line = chain.log_lines(event)[-1]
    return f"{line['error']} -> {line['hint']}"


# -- a configuration that cannot be read -------------------------------------------------------------

SPOILED = {
    "an unknown key": ("sources:", "sorces:", ("oss-dispatcher.yaml:", "sorces", "sources")),
    "a bad URL": ("input: in/", "input: 'http://'", ("oss-dispatcher.yaml:", "rules[0].input", "http://")),
    "a leading slash": ("input: in/", "input: /in/", ("oss-dispatcher.yaml:", "rules[0].input", "in/")),
    "an unreadable secret": (
        "access_key_secret_file: ims.secret",
        "access_key_secret_file: gone.secret",
        ("oss-dispatcher.yaml:", "credentials.access_key_secret_file", "gone.secret", "No such file"),
    ),
}


def test_a_wrong_configuration_is_told_with_its_line_and_after_mending_the_object_starts(chain: Chain) -> None:
    baseline(chain)
    chain.put("in/a.mp4")
    good = chain.config.read_text()
    for what, (right, wrong, words) in SPOILED.items():
        assert right in good
        chain.config.write_text(good.replace(right, wrong))
        for command in (["check"], ["run"]):
            done = chain.command(*command)
            assert done.returncode == ExitCode.CONFIG, (what, command, done.stderr)
            assert [word for word in words if word not in done.stderr] == [], (what, done.stderr)
            assert "Traceback" not in done.stderr, what
    chain.config.write_text(good)
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/a.mp4")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [{name: a, input: '', workflow: wf}]", ("oss-dispatcher.yaml:1", "rules[0].input", "bucket")),
        (
            "buckets: [{name: b}]\nrules:\n- {name: a, input: x/, workflow: w}\n- {name: a, input: y/, workflow: w}\n",
            ("oss-dispatcher.yaml:4: rules[1].name", "oss-dispatcher.yaml:3", "write another one"),
        ),
        (None, ("does not exist", "--config")),
    ],
    ids=["an empty prefix without a bucket", "duplicate rule ids", "no file"],
)
def test_a_configuration_that_names_nothing_is_refused_alike_by_every_command(
    tmp_path: Path, offline: Chain, text: str | None, words: tuple[str, ...]
) -> None:
    if text is not None:
        (tmp_path / "oss-dispatcher.yaml").write_text(text)
    for command in (["check"], ["run"], ["run", "--once"]):
        done = offline.command(*command)
        assert done.returncode == ExitCode.CONFIG, (command, done.stderr)
        assert [word for word in words if word not in done.stderr] == [], done.stderr
        assert "hint: " in done.stderr
    assert not (tmp_path / "oss-dispatcher.db").exists()


# -- the store refuses -------------------------------------------------------------------------------


def test_a_bucket_that_does_not_exist_is_named_and_watched_from_then_on(chain: Chain) -> None:
    chain.bucket += "-later"
    chain.configure(ALL)
    assert chain.command("check").returncode == ExitCode.DONE
    online = chain.command("check", "--online")
    assert online.returncode == ExitCode.CONFIG
    assert "bucket_missing" in online.stdout
    assert chain.run_once() == ExitCode.CONFIG
    assert "no such bucket (HTTP 404 NoSuchBucket" in told(chain, "pass.failed")
    assert chain.bucket in told(chain, "pass.failed")
    assert "name, region and endpoint" in told(chain, "pass.failed")
    before = len(chain.log_lines("pass.failed"))
    daemon = chain.start()
    chain.wait_until(lambda: len(chain.log_lines("pass.failed")) > before + 1, "two more passes that fail")
    chain.client.create_bucket(Bucket=chain.bucket)
    chain.put("in/a.mp4")
    chain.wait_until(lambda: chain.accepted() == once("in/a.mp4"), "the object of the new bucket")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE


def test_a_denied_listing_is_told_and_what_came_meanwhile_starts_after_mending(chain: Chain) -> None:
    chain.put("in/old.mp4")
    wrong = "not-the-secret-of-the-store"
    chain.secrets.append(wrong)
    chain.configure(ALL)
    secret = chain.home / "s3.secret"
    right = secret.read_text()
    secret.write_text(wrong)
    assert chain.command("check").returncode == ExitCode.DONE
    online = chain.command("check", "--online")
    assert online.returncode == ExitCode.CREDENTIALS
    assert "permission" in online.stdout
    assert chain.run_once() == ExitCode.CREDENTIALS
    said = told(chain, "pass.failed")
    assert "SignatureDoesNotMatch" in said
    assert "the access key secret does not belong to the access key id" in said
    daemon = chain.start()
    before = len(chain.log_lines("pass.failed"))
    chain.wait_until(lambda: len(chain.log_lines("pass.failed")) > before, "a denied pass of the daemon")
    chain.put("in/meanwhile.mp4")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    secret.write_text(right)
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/meanwhile.mp4")
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/meanwhile.mp4")


# -- the service refuses -------------------------------------------------------------------------------


def test_wrong_credentials_of_the_service_pause_all_calls_and_use_no_attempt(chain: Chain) -> None:
    baseline(chain)
    wrong = "not-the-secret-of-the-account"
    chain.secrets.append(wrong)
    secret = chain.home / "ims.secret"
    right = secret.read_text()
    secret.write_text(wrong)
    keys = [f"in/{number}.mp4" for number in range(4)]
    for key in keys:
        chain.put(key)
    online = chain.command("check", "--online")
    assert online.returncode == ExitCode.CREDENTIALS
    for action in ("ice:StartWorkflow", "ice:GetWorkflowTask", "ice:ListWorkflowTasks"):
        assert action in online.stdout.replace("\n", ""), online.stdout
    assert chain.run_once() == ExitCode.CREDENTIALS
    assert {(row.state, row.reason, row.attempts) for row in chain.rows()} == {("pending", "PAUSED", 0)}
    status = chain.command("status")
    assert "unauthorized: SignatureDoesNotMatch" in status.stdout
    [pause] = chain.log_lines("target.paused")
    assert pause["cause"] == "unauthorized: SignatureDoesNotMatch"
    assert "check `credentials:`" in pause["hint"]
    secret.write_text(right)
    let_pass(chain, seconds=30)
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once(*keys)


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (FaultPlan(denied={"StartWorkflow": "NoPermission"}), "NoPermission"),
        (FaultPlan(arrears=True), "Arrearage"),
    ],
    ids=["no permission to start", "arrears"],
)
def test_a_refused_account_pauses_and_goes_on_by_itself(chain: Chain, plan: FaultPlan, code: str) -> None:
    baseline(chain)
    chain.simulator.set_faults(plan)
    keys = [f"in/{number}.mp4" for number in range(3)]
    for key in keys:
        chain.put(key)
    online = chain.command("check", "--online")
    assert online.returncode == ExitCode.CREDENTIALS
    assert "ice:StartWorkflow" in online.stdout
    assert code in online.stdout.replace("\n", "")
    assert "ice:ListWorkflowTasks" not in online.stdout or plan.arrears
    daemon = chain.start()
    paused = [("pending", "PAUSED", 0)] * 3
    chain.wait_until(
        lambda: [(row.state, row.reason, row.attempts) for row in chain.rows()] == paused, "every row paused"
    )
    assert code in chain.log_lines("target.paused")[0]["cause"]
    assert "check --online" in chain.log_lines("target.paused")[0]["hint"]
    chain.simulator.set_faults(FaultPlan())
    let_pass(chain, seconds=30)
    chain.wait_until(lambda: chain.accepted() == once(*keys), "all of them after the permission came")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    assert chain.states() == {"started": 3}


def test_without_permission_to_list_tasks_unknown_calls_stay_uncertain_until_it_is_granted(chain: Chain) -> None:
    baseline(chain)
    denied = FaultPlan(denied={"ListWorkflowTasks": "NoPermission"})
    chain.simulator.set_faults(denied)
    chain.put("in/arrived.mp4")
    chain.put("in/lost.mp4")
    online = chain.command("check", "--online")
    assert online.returncode == ExitCode.CREDENTIALS
    assert "ice:ListWorkflowTasks" in online.stdout
    assert "ice:StartWorkflow" not in online.stdout
    chain.simulator.set_faults(replace(denied, script=(ScriptedFault(Fault.DROP), ScriptedFault(Fault.DROP_BEFORE))))
    daemon = chain.start()
    chain.wait_until(lambda: chain.states() == {"uncertain": 2}, "two unknown calls")
    before = len(chain.log_lines("sweep.failed"))
    chain.wait_until(lambda: len(chain.log_lines("sweep.failed")) > before + 3, "four more sweeps refused")
    assert chain.states() == {"uncertain": 2}
    assert "NoPermission" in told(chain, "sweep.failed")
    chain.simulator.set_faults(FaultPlan())
    chain.wait_until(lambda: chain.states() == {"started": 2}, "both started")
    assert chain.accepted() == once("in/arrived.mp4", "in/lost.mp4")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE


def test_a_workflow_id_the_service_does_not_know_holds_the_rule(chain: Chain) -> None:
    baseline(chain)
    settings = replace(chain.simulator.settings, workflows=(SimulatedWorkflow("wf-right"),))
    keys = [f"in/{number:02}.mp4" for number in range(40)]
    for key in keys:
        chain.put(key)
    with Simulator(settings) as chain.simulator:
        chain.configure(ALL)
        assert chain.run_once() == ExitCode.STOPPED_EARLY
        states = chain.states()
        assert states["dead"] >= 20
        assert states["pending"] == 40 - states["dead"] > 0
        held = chain.log_lines("rule.held")
        assert len(held) == 1
        assert "dispatches retry" in chain.log_lines("dispatch.dead")[0]["hint"]
        assert "rules resume all" in held[0]["hint"]
        assert held[0]["code"] in chain.command("rules", "list").stdout
        chain.configure(ALL.replace("wf-all", "wf-right"))
        assert chain.command("rules", "resume", "all").returncode == ExitCode.DONE
        retried = chain.command("dispatches", "retry", "--state", "dead", "--yes")
        assert f"{states['dead']} of {states['dead']}" in retried.stdout
        assert chain.run_once() == ExitCode.DONE
        assert chain.accepted() == once(*keys, workflow="wf-right")


def test_user_data_too_long_for_one_object_leaves_that_one_dead_and_tells_why(chain: Chain) -> None:
    baseline(chain)
    long = f"in/{'x' * 200}/{'y' * 200}.mp4"
    noted = ALL.replace(
        "media_url:", "user_data: {Note: 'the key of this object is {key}, and more words to fill it'}, media_url:"
    )
    chain.configure(noted)
    assert chain.command("check").returncode == ExitCode.DONE
    chain.put("in/short.mp4")
    chain.put(long)
    assert chain.run_once() == ExitCode.OBJECTS_FAILED
    assert [(row.key, row.state, row.reason) for row in chain.rows() if row.state != "started"] == [
        (long, "dead", "USER_DATA")
    ]
    said = told(chain, "dispatch.dead")
    assert "512" in said
    assert "shorten workflow.user_data of rule all" in said
    chain.configure(ALL)
    assert chain.command("dispatches", "retry", "--state", "dead", "--yes").returncode == ExitCode.DONE
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/short.mp4", long)
