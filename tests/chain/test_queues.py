"""The real daemon on real wires of queues: SMQ's XML API and SQS. No listing helps here."""

from __future__ import annotations

import json
import signal
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.errors import ExitCode
from tests.chain.harness import Chain, rule
from tests.sources import test_queue, test_sqs
from tests.sources.smq_server import SmqServer
from tests.sources.stations import just_now, moto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.launching import Launched

OBJECTS = 40
SQS_SECRET = "chain-sqs-secret"


@pytest.fixture
def smq(chain: Chain) -> Iterator[SmqServer]:
    with SmqServer(visibility=timedelta(seconds=2)) as server:
        (chain.home / "smq.secret").write_text(server.keys.secret)
        chain.secrets.append(server.keys.secret)
        yield server


@pytest.fixture
def sqs(chain: Chain) -> Iterator[tuple[str, Any, str]]:
    with moto("sqs") as (endpoint, client):
        (chain.home / "sqs.secret").write_text(SQS_SECRET)
        chain.secrets.append(SQS_SECRET)
        queue_url = client.create_queue(QueueName=chain.bucket)["QueueUrl"]
        yield endpoint, client, queue_url
        client.delete_queue(QueueUrl=queue_url)


def smq_source(server: SmqServer, key_id: str = "smq-key") -> str:
    keys = f"{{type: access_key, access_key_id: {key_id}, access_key_secret_file: smq.secret}}"
    return f'{{type: smq, endpoint: "{server.url}", queue: {server.queue}, credentials: {keys}}}'


def sqs_source(endpoint: str, queue_url: str) -> str:
    keys = "{type: access_key, access_key_id: sqs-key, access_key_secret_file: sqs.secret}"
    where = f'queue_url: "{queue_url}", region: us-east-1, endpoint: "{endpoint}"'
    return f"{{type: sqs, {where}, credentials: {keys}}}"


def configure(chain: Chain, *sources: str) -> None:
    listed = ", ".join(["{type: poll, every: never}", *sources])
    chain.configure(rule("all", "in/"), replaced={"sources: [{type: poll, every: 1s}]": f"sources: [{listed}]"})


def tell(chain: Chain, server: SmqServer, *keys: str) -> None:
    for key in keys:
        server.send(test_queue.notification(key, bucket=chain.bucket, at=just_now()))


def put(chain: Chain, number: int = OBJECTS) -> list[str]:
    keys = [f"in/{each}/klip ü+.mp4" for each in range(number)]
    for key in keys:
        chain.put(key, key.encode())
    return keys


def start(chain: Chain) -> Launched:
    daemon = chain.start()
    chain.wait_until(lambda: bool(chain.log_lines("daemon.ready")), "the daemon", within=30)
    return daemon


def once(keys: list[str]) -> Counter[tuple[str, str]]:
    return Counter({(key, "wf-all"): 1 for key in keys})


def test_two_queues_that_tell_of_the_same_objects_start_each_once(
    chain: Chain, smq: SmqServer, sqs: tuple[str, Any, str]
) -> None:
    endpoint, client, queue_url = sqs
    configure(chain, smq_source(smq), sqs_source(endpoint, queue_url))
    keys = put(chain)
    daemon = start(chain)
    for key in reversed(keys):
        body = test_sqs.notification(test_sqs.quoted(key), bucket=chain.bucket, at=just_now())
        client.send_message(QueueUrl=queue_url, MessageBody=body)
    tell(chain, smq, *keys, *keys[::3])
    chain.wait_until(lambda: chain.states()["started"] == OBJECTS, "every object to start", within=90)
    chain.wait_until(lambda: smq.left() == 0 and test_sqs.left(client, queue_url) == 0, "both queues to be empty")
    assert chain.accepted() == once(keys)
    # Both sources wait in a long poll of 20 seconds now.
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    (stopped,) = chain.log_lines("daemon.stopped")
    assert stopped["drained"] is True


@pytest.mark.parametrize("place", ["before_record_commit", "after_record_commit"])
def test_a_daemon_killed_before_its_acknowledgement_loses_nothing(chain: Chain, smq: SmqServer, place: str) -> None:
    configure(chain, smq_source(smq))
    chain.kill(start(chain), signal.SIGTERM)  # the rule is there before the objects
    keys = put(chain)
    tell(chain, smq, *keys)
    for times in (1, 2):
        assert chain.start(crash_at=f"{place}:{times}").wait(60) == -signal.SIGKILL
    assert smq.left() > 0
    start(chain)
    chain.wait_until(lambda: chain.states()["started"] == OBJECTS, "every object to start", within=90)
    chain.wait_until(lambda: smq.left() == 0, "the queue to be empty")
    assert chain.accepted() == once(keys)


def test_a_body_that_means_nothing_goes_to_quarantine_and_the_queue_moves_on(chain: Chain, smq: SmqServer) -> None:
    configure(chain, smq_source(smq))
    start(chain)
    keys = put(chain, 1)
    smq.send("no notification at all", base64_encoded=False)
    tell(chain, smq, *keys)
    chain.wait_until(lambda: chain.states()["started"] == 1 and smq.left() == 0, "the object to start")
    (kept,) = json.loads(chain.command("quarantine", "list", "-o", "json").stdout)
    assert kept["source"] == "smq:oss-events"
    assert chain.accepted() == once(keys)


def test_a_queue_that_refuses_is_told_and_tried_again(chain: Chain, smq: SmqServer) -> None:
    configure(chain, smq_source(smq, key_id="other"))
    start(chain)
    tell(chain, smq, *put(chain, 1))
    chain.wait_until(lambda: bool(chain.log_lines("source.failed")), "the refusal")
    told = chain.log_lines("source.failed")[0]
    assert "InvalidAccessKeyId" in told["error"]
    assert "access key id" in told["hint"]
    smq.keys = type(smq.keys)(key_id="other")
    chain.wait_until(lambda: chain.states()["started"] == 1, "the object to start")
