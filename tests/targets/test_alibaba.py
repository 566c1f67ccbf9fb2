"""Clients, time-outs and keys of the account."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.calls import Endpoint
from dispatcher.core.settings import Credentials
from dispatcher.errors import ConfigError, CredentialsError
from dispatcher.targets.alibaba import CONNECT_LIMIT_MS, keys_of_alibaba, split_timeout
from tests.simulator_fixtures import CREDENTIALS

if TYPE_CHECKING:
    from dispatcher.targets.alibaba import AlibabaClients


@pytest.mark.parametrize("seconds", [0.001, 0.6, 1, 10, 15, 60])
def test_connecting_and_reading_together_take_the_calls_time(seconds: float) -> None:
    connect, read = split_timeout(timedelta(seconds=seconds))
    assert connect + read == max(2, int(seconds * 1000))
    assert 0 < connect <= CONNECT_LIMIT_MS
    assert read > 0


def test_an_endpoint_has_one_client(clients: AlibabaClients) -> None:
    here, there = Endpoint("cn-hangzhou", "https://ice.example"), Endpoint("cn-beijing", "https://ice.example")
    assert clients.client(here) is clients.client(here)
    assert clients.client(here) is not clients.client(there)


@pytest.mark.parametrize("url", ["ice.example", "ftp://ice.example", "https://", "https://ice.example/path"])
def test_an_endpoint_that_is_no_url_of_a_host_is_a_config_error(clients: AlibabaClients, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        clients.client(Endpoint("cn-hangzhou", url))
    assert "https://ice.cn-hangzhou.aliyuncs.com" in caught.value.hint


def test_fixed_keys_are_given_as_they_are() -> None:
    assert keys_of_alibaba(CREDENTIALS)() == CREDENTIALS


def test_a_chain_that_finds_nothing_is_an_error_without_what_it_read(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from alibabacloud_credentials.provider import DefaultCredentialsProvider  # noqa: PLC0415 - heavy

    def fail(_: object) -> None:
        raise RuntimeError("hush-hush")

    monkeypatch.setattr(DefaultCredentialsProvider, "get_credentials", fail)
    with pytest.raises(CredentialsError) as caught:
        keys_of_alibaba(Credentials())()
    assert "hush" not in caught.value.message + caught.value.hint
    assert capfd.readouterr().err == ""
