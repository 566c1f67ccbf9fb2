"""What the simulator's tests share: a clock by hand, calls that are refused, requests that are usual."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.simulator.server import Simulator

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OUTPUT = {"MediaURL": "https://out.oss-cn-hangzhou.aliyuncs.com/cut/a.mp4"}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Sdks:
    """A running simulator and a client of each service."""

    simulator: Simulator
    ice: Any
    imm: Any


Connect = Callable[["Simulator"], Sdks]


@contextmanager
def refused(status: int, code: str, about: str = "") -> Iterator[None]:
    """Expect that the service refuses a call so, with a message that names what it is about."""
    with pytest.raises(AlibabaCloudException) as caught:
        yield
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert about in caught.value.message


def submission(**changes: Any) -> Any:
    """A SubmitMediaProducingJob request that is accepted; dicts become JSON texts, None leaves a field out."""
    from alibabacloud_ice20201109.models import SubmitMediaProducingJobRequest  # noqa: PLC0415 - 0.8 s, where used

    fields: dict[str, Any] = {"timeline": {"VideoTracks": []}, "output_media_config": OUTPUT} | changes
    return SubmitMediaProducingJobRequest(
        **{name: json.dumps(value) if isinstance(value, dict) else value for name, value in fields.items()}
    )


def batch_request(**changes: Any) -> Any:
    """A CreateBatch request that is accepted."""
    from alibabacloud_imm20200930 import models  # noqa: PLC0415 - 0.8 s, where used

    fields = {
        "project_name": "p1",
        "service_role": "AliyunIMMBatchTriggerRole",
        "input": models.Input(oss=models.InputOSS(bucket="media", prefix="in/")),
        "actions": [models.CreateBatchRequestActions(name="video/convert", parameters=["f_mp4"])],
    }
    return models.CreateBatchRequest(**(fields | changes))


def admin(simulator: Simulator, method: str, name: str, body: object = None) -> tuple[int, str]:
    """Make a request of the admin path; return its status and text. A text is sent as it is, anything else as JSON."""
    connection = http.client.HTTPConnection(urlsplit(simulator.url).netloc, timeout=10)
    try:
        text = body if isinstance(body, str | None) else json.dumps(body)
        connection.request(method, f"/simulator/{name}", None if text is None else text.encode())
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
