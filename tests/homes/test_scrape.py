"""A real daemon is scraped once: it exports what is documented, and keeps doing so while everything else is away."""

from __future__ import annotations

import http.client
import json
import re
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.launching import without_proxies

if TYPE_CHECKING:
    from tests.launching import Launcher

CONFIG = """
http: {listen: 127.0.0.1:0}
buckets: [{name: b, endpoint: "http://127.0.0.1:1", addressing: path, region: cn-hangzhou}]
ims: {endpoint: "http://127.0.0.1:1"}
credentials: {type: access_key, access_key_id: id, access_key_secret: not-a-secret}
never_trigger: [out/]
rules: [{name: a, input: in/, workflow: {id: w, media_url: "oss://mirror/{key}"}}]
"""
WITHIN = 60.0
DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        connection.close()


def test_a_real_daemon_exports_what_is_documented(tmp_path: Path, launcher: Launcher) -> None:
    (tmp_path / "oss-dispatcher.yaml").write_text(CONFIG)
    log = tmp_path / "log"
    process = launcher.start(["run"], directory=tmp_path, stdout=log, stderr=log, environment=without_proxies())
    try:
        deadline = time.monotonic() + WITHIN
        body = ""
        while "oss_dispatcher_source_errors_total{" not in body:  # the store is away: a pass must have failed
            assert time.monotonic() < deadline, body
            opened = [json.loads(line) for line in log.read_text().splitlines() if '"listener.open"' in line]
            if opened:
                body = scrape(int(opened[-1]["address"].rpartition(":")[2]))
            threading.Event().wait(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WITHIN)
    told = {line.split()[2] for line in body.splitlines() if line.startswith("# TYPE oss_dispatcher_")}
    documented = set(re.findall(r"^\| `(oss_dispatcher_\w+)`", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert told == documented
    values = {sample.name: sample.value for family in text_string_to_metric_families(body) for sample in family.samples}
    assert values["oss_dispatcher_ledger_readable"] == 1
    assert values["oss_dispatcher_source_errors_total"] >= 1
