"""`status --fail-if` and `healthcheck`: what a monitor has of them."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from dispatcher.cli.healthcheck import ask
from dispatcher.cli.ledgers import now
from dispatcher.config import load
from dispatcher.core.settings import Address
from dispatcher.ledger import settling
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.settling import TaskFound
from tests.cli.desk import TASK, Shell, id_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_each_condition_that_is_true_is_named_and_makes_it_1(filled: Shell) -> None:
    ran = filled("status", "--fail-if", "dead,uncertain,failed,held,lag=5m", "-o", "json")
    assert ran.code == 1
    told = json.loads(ran.out)
    assert [each["condition"] for each in told["failing"]] == ["dead", "uncertain", "lag"]
    assert told["uncertain"] == 1
    assert "dead: 1 dispatches are dead" in ran.err
    assert filled("status", "--fail-if", "failed,held,lag=1h").code == 0
    assert filled("status").code == 0


def test_a_held_rule_and_a_task_that_failed_lately_raise_it(filled: Shell) -> None:
    assert filled("rules", "pause", "transcode").code == 0
    assert "held: rule transcode: OPERATOR" in filled("status", "--fail-if", "held").err
    settings = load(filled.config, {})
    with closing(Ledger.open(settings.ledger.url)) as ledger, ledger.write() as tx:
        ended = TaskFound(id_of("incoming/started.mp4"), 1, TASK, "Failed", now(), now())
        settling.settle_evidence(tx, [ended], now())
        tx.exec_driver_sql("UPDATE dispatches SET task_status = 'Failed' WHERE task_id = ?", (TASK,))
    ran = filled("status", "--fail-if", "failed=7d")
    assert ran.code == 1
    assert "failed: 1 dispatches have a task that failed in the last 7d" in ran.err


@pytest.mark.parametrize("conditions", ["", "ded", "lag", "lag=soon", "dead=3", "dead,,held"])
def test_a_condition_that_is_none_says_what_to_write(filled: Shell, conditions: str) -> None:
    ran = filled("status", "--fail-if", conditions)
    assert ran.code == 2
    assert "hint: write" in ran.err


def test_without_a_configuration_healthcheck_is_1_and_nothing_else(shell: Shell) -> None:
    shell.config.write_text("rules: [")
    assert shell("healthcheck").code == 1


class Answering(BaseHTTPRequestHandler):
    """Answers every path with what the server was given."""

    def do_GET(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def probed(request: pytest.FixtureRequest) -> Iterator[Address]:
    """An address where a program gives this answer."""
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        server.answer = request.param  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Address("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


STUCK = b'{"program": "oss-dispatcher", "reasons": [{"code": "stuck", "detail": "worker: silent"}]}'


@pytest.mark.parametrize(
    ("probed", "said"),
    [
        ((200, b'{"program": "oss-dispatcher", "reasons": []}'), None),
        ((503, STUCK), "stuck: worker: silent"),
        ((200, b"<html>"), "another program answers"),
        ((200, b"[]"), "another program answers"),
        ((404, b'{"program": "else"}'), "another program answers"),
    ],
    indirect=["probed"],
)
def test_only_this_programs_200_counts(probed: Address, said: str | None) -> None:
    found = ask(probed, "/livez")
    assert found is None if said is None else said in (found or "")


def test_a_listener_on_every_address_is_asked_on_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert "nothing answers on 0.0.0.0" in (ask(Address("0.0.0.0", port), "/livez") or "")
