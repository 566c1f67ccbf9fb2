"""What the simulator promises to those who test with it: a true journal, tasks by the clock, faults on demand."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from dispatcher.errors import ConfigError, UsageError
from dispatcher.simulator.faults import Fault, FaultDice, FaultPlan, FaultRate, ScriptedFault
from dispatcher.simulator.journal import Origin
from dispatcher.simulator.plans import plan_from_json
from dispatcher.simulator.server import Simulator, serve
from dispatcher.simulator.settings import SimulatedWorkflow
from tests.simulator.desk import NOW, Clock, admin
from tests.simulator_fixtures import make_settings

if TYPE_CHECKING:
    from pathlib import Path

START = "StartWorkflow"


def statuses(simulator: Simulator) -> list[str]:
    return [task["status"] for task in json.loads(admin(simulator, "GET", "tasks")[1])]


def test_tasks_move_by_the_clock_alone() -> None:
    clock = Clock(NOW)
    workflow = SimulatedWorkflow("w1", failing=("*broken*",))
    settings = make_settings(
        workflows=(workflow,), queue_duration=timedelta(seconds=10), task_duration=timedelta(minutes=2)
    )
    with Simulator(settings, clock=clock) as simulator:
        simulator.trigger("w1", "oss://b/fine.mp4")
        simulator.trigger("w1", "oss://b/broken.mp4")
        assert statuses(simulator) == ["Init", "Init"]
        clock.now += timedelta(seconds=10)
        assert statuses(simulator) == ["Processing", "Processing"]
        clock.now += timedelta(minutes=2)
        assert statuses(simulator) == ["Succeed", "Failed"]


def test_a_journal_file_is_the_state_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Simulator(make_settings(), journal_path=path) as first:
        first.trigger("w1", "oss://b/é \u2028.mp4")
        before = first.journal()
    with Simulator(make_settings(), journal_path=path) as second:
        assert second.journal() == before
        second.trigger("w2", "oss://b/2.mp4")
        assert [json.loads(line)["workflow_id"] for line in path.read_text().splitlines()] == ["w1", "w2"]
    assert before[0].origin is Origin.TRIGGER


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Simulator(make_settings(), journal_path=path) as first:
        first.trigger("w1", "oss://b/1.mp4")
    with path.open("ab") as file:
        file.write(b'{"at": "2026-')
    with Simulator(make_settings(), journal_path=path) as second:
        second.trigger("w1", "oss://b/2.mp4")
        assert len(second.journal()) == 2
    with Simulator(make_settings(), journal_path=path) as third:
        assert len(third.journal()) == 2


def test_a_file_that_is_no_journal_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello\n")
    with pytest.raises(ConfigError) as caught:
        Simulator(make_settings(), journal_path=path)
    assert str(path) in caught.value.message
    assert path.read_text() == "hello\n"


def test_a_killed_simulator_loses_no_accepted_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from dispatcher.simulator.server import serve\n"
        "from dispatcher.simulator.settings import SimulatorSettings\n"
        "serve(SimulatorSettings(), threading.Event(), Path(sys.argv[1]), on_ready=lambda url: print(url, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            netloc = urlsplit(process.stdout.readline().strip()).netloc
            connection = http.client.HTTPConnection(netloc, timeout=10)
            answered = []
            for n in range(20):
                body = json.dumps({"workflow_id": "w1", "media": f"oss://b/{n}.mp4"})
                connection.request("POST", "/simulator/trigger", body)
                answered.append(json.loads(connection.getresponse().read())["task_id"])
            connection.close()
        finally:
            process.kill()
    with Simulator(make_settings(), journal_path=path) as reborn:
        assert [entry.task_id for entry in reborn.journal()] == answered


def test_an_address_in_use_is_a_usage_error(simulator: Simulator) -> None:
    port = urlsplit(simulator.url).port
    with pytest.raises(UsageError, match="cannot listen"):
        Simulator(make_settings(port=port)).start()


def test_stop_ends_idle_and_half_sent_connections_and_may_be_repeated() -> None:
    simulator = Simulator(make_settings()).start()
    address = urlsplit(simulator.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as half:
        half.sendall(b"POST / HTTP/1.1\r\nContent-Le")
        # The health answer shows that the server has taken the connection before it.
        assert admin(simulator, "GET", "health")[0] == 200
        simulator.stop()
        assert half.recv(1) == b""
    simulator.stop()


def test_serve_runs_until_it_is_told_to_stop() -> None:
    stop, ready, urls = threading.Event(), threading.Event(), []

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    thread = threading.Thread(target=serve, args=(make_settings(), stop), kwargs={"on_ready": on_ready})
    thread.start()
    try:
        assert ready.wait(10)
        address = urlsplit(urls[0])
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=10):
            pass
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_the_admin_path_sets_faults_and_ends_them(simulator: Simulator) -> None:
    plan = {
        "script": ["accept-hang", {"fault": "5xx-after", "action": "GetWorkflowTask", "times": 2}, {"fault": None}],
        "rates": {"throttle": 0.25},
        "denied": {"ListWorkflowTasks": "NoPermission"},
        "arrears": True,
        "latency_ms": 20,
        "seed": 7,
    }
    assert admin(simulator, "POST", "faults", plan)[0] == 200
    assert plan_from_json(json.dumps(plan)) == FaultPlan(
        script=(
            ScriptedFault(Fault.HANG),
            ScriptedFault(Fault.ERROR_AFTER, "GetWorkflowTask", 2),
            ScriptedFault(None),
        ),
        rates=(FaultRate(Fault.THROTTLE, 0.25),),
        denied={"ListWorkflowTasks": "NoPermission"},
        arrears=True,
        latency=timedelta(milliseconds=20),
        seed=7,
    )
    assert plan_from_json("{}") == FaultPlan()


@pytest.mark.parametrize(
    "plan",
    [
        [],
        {"unknown": 1},
        {"script": "accept-hang"},
        {"script": ["no-such-fault"]},
        {"script": [1]},
        {"rates": {"throttle": "often"}},
        {"rates": [1]},
        {"latency_ms": -1},
        {"denied": {"ListWorkflowTasks": 1}},
    ],
)
def test_a_wrong_plan_is_refused_and_the_old_one_stays(simulator: Simulator, plan: object) -> None:
    status, body = admin(simulator, "POST", "faults", plan)
    assert status == 400
    assert json.loads(body)["message"]


def test_the_journal_and_the_tasks_can_be_read_and_triggers_set_off(simulator: Simulator) -> None:
    status, body = admin(simulator, "POST", "trigger", {"workflow_id": "w1", "media": "oss://b/1.mp4"})
    assert status == 200
    task_id = json.loads(body)["task_id"]
    (line,) = admin(simulator, "GET", "journal")[1].splitlines()
    assert json.loads(line)["task_id"] == task_id
    assert json.loads(line)["origin"] == "trigger"
    assert [task["task_id"] for task in json.loads(admin(simulator, "GET", "tasks")[1])] == [task_id]
    assert json.loads(admin(simulator, "GET", "health")[1]) == {"ok": True, "requests": 0, "accepted": 1}
    assert simulator.calls() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "trigger", {"workflow_id": "w1", "media": "nonsense"}, 400),
        ("POST", "trigger", {"media": "oss://b/1.mp4"}, 400),
        ("GET", "nothing", None, 404),
        ("GET", "faults", None, 404),
    ],
)
def test_other_admin_requests_are_refused(
    simulator: Simulator, method: str, path: str, body: object, status: int
) -> None:
    assert admin(simulator, method, path, body)[0] == status


def test_scripts_go_in_order_for_each_action_and_then_pass() -> None:
    dice = FaultDice(
        FaultPlan(script=(ScriptedFault(Fault.DROP, times=2), ScriptedFault(None), ScriptedFault(Fault.HANG)))
    )
    drawn = [dice.draw(START) for _ in range(5)]
    assert drawn == [Fault.DROP, Fault.DROP, None, Fault.HANG, None]
    assert dice.draw("ListWorkflowTasks") is None
    assert dice.script_left == ()


def test_chance_is_seeded_and_near_its_share() -> None:
    plan = FaultPlan(rates=(FaultRate(Fault.THROTTLE, 0.2), FaultRate(Fault.HANG, 0.1)), seed=3)
    first, second = FaultDice(plan), FaultDice(plan)
    drawn = [first.draw(START) for _ in range(2000)]
    assert drawn == [second.draw(START) for _ in range(2000)]
    assert 300 < drawn.count(Fault.THROTTLE) < 500
    assert 100 < drawn.count(Fault.HANG) < 220
