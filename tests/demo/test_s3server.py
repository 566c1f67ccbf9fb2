from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from dispatcher.demo import s3server
from dispatcher.demo.s3server import S3Server, running_s3
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_started_server_takes_and_lists_objects(bucket: tuple[Any, str]) -> None:
    client, name = bucket
    client.put_object(Bucket=name, Key="a/b.mp4", Body=b"x")
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket=name)["Contents"]] == ["a/b.mp4"]


def test_moto_takes_and_lists_objects(moto_bucket: tuple[Any, str]) -> None:
    client, name = moto_bucket
    client.put_object(Bucket=name, Key="a/b.mp4", Body=b"x")
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket=name)["Contents"]] == ["a/b.mp4"]


def test_two_servers_run_beside_each_other_and_stop(seaweedfs: S3Server, tmp_path: Path) -> None:
    with running_s3(tmp_path) as second:
        assert second.endpoint != seaweedfs.endpoint
        assert s3server._answers(urllib3.PoolManager(retries=False), f"{second.endpoint}/healthz")
    assert not s3server._answers(urllib3.PoolManager(retries=False), f"{second.endpoint}/healthz")


def test_a_missing_program_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3server, "find_weed", lambda: None)
    with pytest.raises(UsageError) as raised, running_s3(tmp_path):
        pass
    assert "oss-dispatcher[demo]" in raised.value.hint
