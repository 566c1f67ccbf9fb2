"""A dispatcher that is put together serves the page on the operator's listener."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dispatcher.config import load
from dispatcher.core.settings import Address, HttpSettings, Secret
from dispatcher.errors import BucketMissingError
from dispatcher.ledger.engine import Ledger
from dispatcher.service.assembly import assemble
from tests.page.stage import CONFIG, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.service.daemon import Daemon


def asked(daemon: Daemon, method: str, path: str) -> tuple[int, str]:
    assert daemon.listener is not None
    assert daemon.listener.operator is not None
    address = daemon.listener.operator.address
    with closing(http.client.HTTPConnection(address.host, address.port, timeout=30)) as connection:
        connection.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_dispatcher_serves_its_page_and_takes_changes(tmp_path: Path) -> None:
    config = tmp_path / "oss-dispatcher.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    listen = Address("127.0.0.1", 0)
    settings = replace(load(config, {}), http=HttpSettings(listen, listen, token=Secret(TOKEN)))
    with closing(Ledger.open(settings.ledger.url)) as ledger:
        daemon = assemble(settings, ledger, lambda: datetime.now(UTC), threading.Event(), shadow=True)
        assert daemon.listener is not None
        daemon.polls[0].failure = BucketMissingError("the bucket my-media does not exist", hint="create it")
        daemon.listener.start()
        try:
            status, page = asked(daemon, "GET", "/")
            assert status == 200
            assert "shadow: nothing is called" in page
            status, sources = asked(daemon, "GET", "/api/v1/sources")
            assert status == 200
            assert [each["source"] for each in json.loads(sources)][-1] == "oss-events"
            status, done = asked(daemon, "POST", "/api/v1/rules/pause?rule=clips")
            assert json.loads(done)["changed"] == ["clips"]
            status, rules = asked(daemon, "GET", "/api/v1/rules")
            assert next(r["hold"]["reason"] for r in json.loads(rules) if r["rule"] == "clips") == "OPERATOR"
            assert asked(daemon, "GET", "/livez")[0] == 200
        finally:
            daemon.listener.stop()
