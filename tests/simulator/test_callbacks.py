"""Completion callbacks: what is posted, to whom, how it is signed, and what counts as delivered."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.settings import Secret
from dispatcher.simulator.events import on_loopback
from dispatcher.simulator.journal import DeliveryOutcome
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import CallbackSettings, SimulatedWorkflow
from tests.simulator.desk import OUTPUT, admin, submission
from tests.simulator_fixtures import make_settings, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.simulator.desk import Clock, Connect

MINUTE = timedelta(minutes=1)
QUICKLY = timedelta(milliseconds=50)
REMOTE = "http://192.0.2.1/cb"


@dataclass
class Listener:
    """A real HTTP listener: what it was posted, and the statuses with which it answers (then 200)."""

    url: str = ""
    posts: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    answering: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()
    listener.answering.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            listener.posts.append(({name.lower(): text for name, text in self.headers.items()}, json.loads(body)))
            listener.answering.wait(10)
            self.send_response(listener.statuses.popleft() if listener.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False
        listener.url = f"http://127.0.0.1:{server.server_address[1]}/callbacks/ims"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield listener
        finally:
            listener.answering.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as running:
        yield running


def settings_of(listener: Listener | None = None, **changes: Any) -> Any:
    callbacks = CallbackSettings(**({"url": listener.url if listener else None, "try_again_after": QUICKLY} | changes))
    workflow = SimulatedWorkflow("w1", failing=("*broken*",))
    return make_settings(
        workflows=(workflow,), queue_duration=MINUTE, task_duration=MINUTE, failing=("*broken*",), callbacks=callbacks
    )


def delivered(simulator: Simulator, count: int) -> list[DeliveryOutcome]:
    wait_until(lambda: len(simulator.deliveries()) == count)
    return [each.outcome for each in simulator.deliveries()]


def test_a_final_task_is_told_once_and_signed(listener: Listener, clock: Clock) -> None:
    with Simulator(settings_of(listener, auth_key=Secret("key-1")), clock=clock) as running:
        task_id = running.trigger("w1", "oss://b/é.mp4")
        broken = running.trigger("w1", "oss://b/broken.mp4")
        clock.now += 2 * MINUTE
        assert delivered(running, 2) == [DeliveryOutcome.DELIVERED] * 2
        headers, event = next(post for post in listener.posts if post[1]["MessageBody"]["TaskId"] == task_id)
        timestamp = headers["x-ice-timestamp"]
        signature = hashlib.md5(f"{listener.url}|{timestamp}|key-1".encode()).hexdigest()
        assert headers["x-ice-signature"] == signature
        assert event | {"MessageBody": None} == {
            "EventType": "WorkflowTaskComplete",
            "UserId": 1234567890123456,
            "EventTime": "2026-03-01T12:02:00Z",
            "MessageBody": None,
        }
        body = event["MessageBody"]
        assert {name: body[name] for name in ("WorkflowId", "Status", "CreateTime", "FinishTime")} == {
            "WorkflowId": "w1",
            "Status": "Succeed",
            "CreateTime": "2026-03-01T12:00:00Z",
            "FinishTime": "2026-03-01T12:02:00Z",
        }
        assert json.loads(body["TaskInput"])["Media"] == "oss://b/é.mp4"
        assert json.loads(body["ActivityResults"])
        assert "UserData" not in body
        failed = {each["MessageBody"]["TaskId"]: each["MessageBody"]["Status"] for _, each in listener.posts}
        assert failed == {task_id: "Succeed", broken: "Failed"}
        lines = admin(running, "GET", "deliveries")[1].splitlines()
        assert {json.loads(line)["subject"] for line in lines} == {task_id, broken}


def test_a_final_editing_job_is_told(listener: Listener, clock: Clock, connect: Connect) -> None:
    broken = {"MediaURL": "https://out.oss-cn-hangzhou.aliyuncs.com/broken.mp4"}
    with Simulator(settings_of(listener), clock=clock) as running:
        ice = connect(running).ice
        fine = ice.submit_media_producing_job(submission(client_token="t")).body
        ice.submit_media_producing_job(submission(client_token="t"))
        ice.submit_media_producing_job(submission(output_media_config=broken))
        clock.now += 2 * MINUTE
        assert delivered(running, 2) == [DeliveryOutcome.DELIVERED] * 2
    assert {event["EventType"] for _, event in listener.posts} == {"ProduceMediaComplete"}
    assert all("x-ice-signature" not in headers for headers, _ in listener.posts)
    bodies = {event["MessageBody"]["JobId"]: event["MessageBody"] for _, event in listener.posts}
    assert bodies.pop(fine.job_id) == {
        "JobId": fine.job_id,
        "Status": "Success",
        "ProjectId": fine.project_id,
        "MediaId": fine.media_id,
        "MediaURL": OUTPUT["MediaURL"],
    }
    ((_, failed),) = bodies.items()
    assert (failed["Status"], failed["ErrorCode"]) == ("Failed", "InvalidMaterial")


def test_an_address_in_user_data_goes_before_the_account_s(listener: Listener, clock: Clock, connect: Connect) -> None:
    with listening() as own, Simulator(settings_of(listener), clock=clock) as running:
        ice = connect(running).ice
        ice.submit_media_producing_job(submission(user_data={"NotifyAddress": own.url}))
        ice.submit_media_producing_job(submission(user_data={"NotifyAddress": "ice-callback-queue"}))
        ice.submit_media_producing_job(submission(user_data={"NotifyAddress": ["x"]}))
        ice.submit_media_producing_job(submission(user_data={"Other": 1}))
        clock.now += 2 * MINUTE
        delivered(running, 2)
        assert (len(own.posts), len(listener.posts)) == (1, 1)


def test_an_address_in_user_data_needs_no_settings(clock: Clock, connect: Connect, listener: Listener) -> None:
    with Simulator(settings_of(), clock=clock) as running:
        connect(running).ice.submit_media_producing_job(submission(user_data={"NotifyAddress": listener.url}))
        running.trigger("w1", "oss://b/a.mp4")
        clock.now += 2 * MINUTE
        assert delivered(running, 1) == [DeliveryOutcome.DELIVERED]
        assert len(listener.posts) == 1


@pytest.mark.parametrize(
    ("statuses", "outcome", "tries"),
    [
        ([200], DeliveryOutcome.DELIVERED, ("200",)),
        ([500, 200], DeliveryOutcome.DELIVERED, ("500", "200")),
        ([204, 302, 200], DeliveryOutcome.DELIVERED, ("204", "302", "200")),
        ([503, 404, 201], DeliveryOutcome.DROPPED, ("503", "404", "201")),
    ],
)
def test_delivered_is_an_answer_of_200_within_three_tries(
    listener: Listener, clock: Clock, statuses: list[int], outcome: DeliveryOutcome, tries: tuple[str, ...]
) -> None:
    listener.statuses.extend(statuses)
    with Simulator(settings_of(listener), clock=clock) as running:
        running.trigger("w1", "oss://b/a.mp4")
        clock.now += 2 * MINUTE
        assert delivered(running, 1) == [outcome]
        assert running.deliveries()[0].tries == tries
    assert len(listener.posts) == len(tries)


def test_an_answer_that_comes_too_late_or_not_at_all_is_none(listener: Listener, clock: Clock) -> None:
    listener.answering.clear()
    settings = settings_of(listener, answer_within=QUICKLY)
    with Simulator(settings, clock=clock) as running:
        running.trigger("w1", "oss://b/a.mp4")
        clock.now += 2 * MINUTE
        assert delivered(running, 1) == [DeliveryOutcome.DROPPED]
        assert running.deliveries()[0].tries == ("timeout",) * 3


def test_nobody_listening_is_dropped(clock: Clock) -> None:
    with listening() as gone:
        settings = settings_of(gone)
    with Simulator(settings, clock=clock) as running:
        running.trigger("w1", "oss://b/a.mp4")
        clock.now += 2 * MINUTE
        assert delivered(running, 1) == [DeliveryOutcome.DROPPED]
        assert running.deliveries()[0].tries == ("no connection",) * 3


def test_another_machine_is_not_called_unless_that_is_allowed(clock: Clock) -> None:
    with Simulator(settings_of(url=REMOTE), clock=clock) as running:
        running.trigger("w1", "oss://b/a.mp4")
        clock.now += 2 * MINUTE
        assert delivered(running, 1) == [DeliveryOutcome.NOT_ALLOWED]
        assert running.deliveries()[0].tries == ()


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:80/x", True),
        ("http://127.9.9.9/", True),
        ("https://[::1]/", True),
        ("http://localhost:8080/", True),
        ("http://cb.localhost/", True),
        ("http://[::1/", False),
        ("", False),
        ("http://localhost.example.com/", False),
        ("http://127.0.0.1@192.0.2.1/", False),
        ("http://192.0.2.1/", False),
        ("https://cb.example.com/127.0.0.1", False),
    ],
)
def test_what_is_on_loopback(url: str, loopback: bool) -> None:
    assert on_loopback(url) is loopback


def test_a_restart_tells_of_what_was_not_final_yet(listener: Listener, clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Simulator(settings_of(listener), clock=clock, journal_path=path) as running:
        running.trigger("w1", "oss://b/a.mp4")
        clock.now += 2 * MINUTE
        delivered(running, 1)
        later = running.trigger("w1", "oss://b/b.mp4")
    assert len(listener.posts) == 1
    with Simulator(settings_of(listener), clock=clock, journal_path=path) as running:
        assert [each.outcome for each in running.deliveries()] == [DeliveryOutcome.DELIVERED]
        clock.now += 2 * MINUTE
        delivered(running, 2)
    assert [event["MessageBody"]["TaskId"] for _, event in listener.posts][1:] == [later]


def test_stopping_waits_for_no_try(listener: Listener, clock: Clock) -> None:
    listener.statuses.append(500)
    with Simulator(settings_of(listener, try_again_after=timedelta(hours=1)), clock=clock) as running:
        running.trigger("w1", "oss://b/a.mp4")
        clock.now += 2 * MINUTE
        wait_until(lambda: len(listener.posts) == 1)
    assert running.deliveries() == []
