"""The listeners: health is always there, and a default address that is taken ends nothing."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.health import Condition
from dispatcher.core.settings import Address, CallbackSettings, HttpSettings, NoAuthentication, WebhookSettings
from dispatcher.errors import ServiceUnavailableError
from dispatcher.service.opening import make_listener
from tests.service.conftest import lines
from tests.service.fakes import PATIENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.service.listening import Listener
    from dispatcher.web.server import WebServer
    from tests.service.conftest import Log, Scene

ANY = Address("127.0.0.1", 0)
HOOK = WebhookSettings("hook", "/events/minio", NoAuthentication())


def listener(scene: Scene, http: HttpSettings, *hooks: WebhookSettings) -> Listener:
    scene.settings = replace(scene.settings, http=http, sources=hooks)
    return make_listener(scene.settings, scene.intake(), scene.hints, scene.clock, lambda _: None)


@contextmanager
def running(made: Listener) -> Iterator[Listener]:
    made.start()
    try:
        yield made
    finally:
        made.stop()


def get(server: WebServer | None, path: str) -> tuple[int, bytes]:
    assert server is not None
    connection = http.client.HTTPConnection(server.address.host, server.address.port, timeout=PATIENT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_without_any_webhook_the_probes_are_answered_with_their_reasons(scene: Scene) -> None:
    made = listener(scene, HttpSettings(ANY, ANY))
    with running(made):
        status, body = get(made.operator, "/readyz")
        told: Any = json.loads(body)
        assert (status, told["ok"]) == (503, False)
        assert [each["code"] for each in told["reasons"]] == ["starting", "not_proven"]
        assert all(each["hint"] for each in told["reasons"])
        assert get(made.operator, "/livez")[0] == 200
        assert get(made.operator, "/startupz")[0] == 503
        assert get(made.operator, "/elsewhere")[0] == 404


def test_notes_stand_in_the_body_and_fail_nothing(scene: Scene) -> None:
    intake = scene.intake()
    intake.health.started()
    intake.health.proven()
    intake.health.notes = (Condition("target_paused", "StartWorkflow: not sent", "see status"),)
    made = make_listener(
        replace(scene.settings, http=HttpSettings(ANY, ANY)), intake, scene.hints, scene.clock, lambda _: None
    )
    with running(made):
        status, body = get(made.operator, "/readyz")
    assert status == 200
    assert json.loads(body)["notes"] == [
        {"code": "target_paused", "detail": "StartWorkflow: not sent", "hint": "see status"}
    ]


def test_one_loopback_listener_serves_webhooks_and_probes(scene: Scene) -> None:
    made = listener(scene, HttpSettings(ANY, ANY), HOOK)
    assert made.operator is None
    with running(made):
        assert get(made.public, HOOK.path) == (200, b"")
        assert get(made.public, "/livez")[0] == 200


def test_a_shared_listener_takes_callbacks(scene: Scene) -> None:
    scene.settings = replace(scene.settings, callbacks=CallbackSettings("http://localhost/callbacks/ims"))
    with running(listener(scene, HttpSettings(ANY, ANY))) as made:
        assert get(made.public, "/callbacks/ims")[0] == 405  # they are posted
        assert get(made.public, "/livez")[0] == 200


def test_the_public_listener_tells_nobody_how_we_are_and_goes_first(scene: Scene) -> None:
    made = listener(scene, HttpSettings(ANY, Address("localhost", 0)), HOOK)
    with running(made):
        assert get(made.public, "/livez")[0] == 404
        assert get(made.operator, "/livez")[0] == 200
        assert get(made.operator, HOOK.path)[0] == 404
        made.refuse()
        with pytest.raises(ConnectionRefusedError):
            get(made.public, HOOK.path)
        assert get(made.operator, "/livez")[0] == 200


def test_a_default_address_that_is_taken_is_done_without_and_a_chosen_one_is_an_error(scene: Scene, log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Address("127.0.0.1", other.getsockname()[1])
        with running(listener(scene, HttpSettings(taken, taken))):
            assert "http: {listen:" in lines(log, "listener.absent")[0]["hint"]
        with pytest.raises(ServiceUnavailableError, match=str(taken)):
            listener(scene, HttpSettings(taken, taken, listen_written=True)).start()
