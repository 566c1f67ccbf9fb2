"""Completion callbacks: answered at once, believed in nothing, refused without a flood of log lines."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from dispatcher.core.callbacks import callback_signature
from dispatcher.core.calls import Api, TaskHint
from dispatcher.core.settings import Address, CallbackSettings, Secret
from dispatcher.service.hints import Hints
from dispatcher.web.server import WebServer
from dispatcher.web.webhooks import Webhooks
from tests.web.conftest import MINIO, NOW, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.web.limits import WebLimits
    from tests.web.conftest import Answer, Clock, Inbox

    Serve = Callable[..., "Station"]

PATH = "/callbacks/ims"
URL = "https://events.example.com/callbacks/ims"
KEY = "key-of-ims"
BODY = json.dumps({"EventType": "WorkflowTaskComplete", "MessageBody": {"TaskId": "t1"}}).encode()
HINT = TaskHint(Api.START_WORKFLOW, "t1")


@dataclass
class Station:
    listener: Listener
    hints: list[TaskHint] = field(default_factory=list)

    def post(self, body: bytes = BODY, *, url: str = URL, key: str = KEY, age: float = 0, **more: str | None) -> Answer:
        timestamp = str(int(NOW.timestamp() - age))
        headers = {"x-ice-timestamp": timestamp, "x-ice-signature": callback_signature(url, timestamp, key)}
        changed = {name.replace("_", "-"): value for name, value in more.items()}
        sent = {name: value for name, value in (headers | changed).items() if value is not None}
        return self.listener.request("POST", PATH, body, sent)


@pytest.fixture
def serve(inbox: Inbox, clock: Clock) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(settings: CallbackSettings | None, limits: WebLimits | None = None) -> Station:
            hints: list[TaskHint] = []

            def keep(hint: TaskHint) -> None:
                hints.append(hint)

            hooks = Webhooks([MINIO], inbox, clock, callbacks=settings, hint=keep, limits=limits)
            stack.callback(hooks.close)
            server = stack.enter_context(WebServer(hooks.app, Address("127.0.0.1", 0), limits=limits))
            return Station(Listener(server, inbox, clock), hints)

        yield start


@pytest.fixture
def station(serve: Serve) -> Station:
    return serve(CallbackSettings(URL, Secret(KEY)))


def test_a_signed_callback_is_a_hint_and_answered_with_200(station: Station) -> None:
    assert (station.post().status, station.hints) == (200, [HINT])


def test_a_callback_about_something_else_is_answered_all_the_same(station: Station) -> None:
    for body in (b"{}", b"nonsense", b'{"MessageBody":{"MediaId":"m"}}'):
        assert station.post(body).status == 200, "else the service sends it twice more"
    assert station.hints == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"key": "wrong"}, 403),
        ({"url": "https://events.example.com/elsewhere"}, 403),
        ({"age": 301}, 403),
        ({"age": -301}, 403),
        ({"x_ice_signature": None}, 401),
        ({"x_ice_timestamp": None}, 401),
        ({"x_ice_timestamp": "1" * 40}, 403),
        ({"x_ice_signature": "0" * 32}, 403),
        ({"origin": "https://evil.example"}, 403),
    ],
)
def test_what_is_not_genuine_is_refused(station: Station, changes: dict[str, object], status: int) -> None:
    assert (station.post(**changes).status, station.hints) == (status, [])  # type: ignore[arg-type]  # a table


@pytest.mark.parametrize("timestamp", ["now", "٣", "9" * 13, "-5"])
def test_a_signed_time_that_is_none_is_refused(station: Station, timestamp: str) -> None:
    signature = callback_signature(URL, timestamp.encode().decode("latin-1"), KEY)
    answer = station.listener.send_raw(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nx-ice-timestamp: {timestamp}\r\nx-ice-signature: {signature}\r\n"
        "Content-Length: 2\r\nConnection: close\r\n\r\n{}".encode()
    )
    assert answer.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("age", [300, -300, 0])
def test_the_age_has_two_sides(station: Station, age: float) -> None:
    assert station.post(age=age).status == 200


def test_without_the_section_the_path_does_not_exist(serve: Serve) -> None:
    assert serve(None).post().status == 404


def test_a_loopback_listener_without_a_key_takes_what_comes(serve: Serve) -> None:
    station = serve(CallbackSettings(URL))
    answer = station.post(x_ice_signature=None, x_ice_timestamp=None)
    assert (answer.status, station.hints) == (200, [HINT])


def test_refused_callbacks_are_told_once_a_minute(station: Station) -> None:
    with capture_logs() as entries:
        for _ in range(30):
            station.post(key="wrong")
        station.listener.clock.now += timedelta(minutes=1)
        station.post(key="wrong")
    loud = [entry for entry in entries if entry["log_level"] != "debug"]
    assert [(entry["event"], entry["refused"]) for entry in loud] == [("callback.refused", 1), ("callback.refused", 30)]
    assert not any(KEY in str(entry) for entry in entries)


def test_the_webhooks_beside_it_are_as_before(station: Station, inbox: Inbox) -> None:
    assert station.listener.post(b"{}").status == 204
    assert len(inbox.taken) == 1
    assert station.listener.request("GET", PATH).status == 405


def test_hints_are_bounded_and_merged() -> None:
    hints = Hints(most=3)
    for number in (1, 1, 2, 3, 4):
        hints(TaskHint(Api.START_WORKFLOW, f"t{number}"))
    assert [hint.task_id for hint in hints.take(2)] == ["t1", "t2"]
    hints(TaskHint(Api.START_WORKFLOW, "t5"))
    assert [hint.task_id for hint in hints.take(9)] == ["t3", "t5"]
    assert hints.take(9) == []
