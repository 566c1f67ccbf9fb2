"""The configuration's `callbacks:`: who may hint at a task, and through which door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dispatcher.config import effective, load
from dispatcher.core.settings import Address, CallbackSettings, Secret
from dispatcher.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.core.settings import Settings

RULE = "rules: [{name: a, input: 'http://m.oss-cn-x.aliyuncs.com/in/', workflow: w}]\n"
URL = "https://events.example.com/callbacks/ims"
PUBLIC = "http: {public: {listen: '0.0.0.0:8443'}}\n"


def read(folder: Path, text: str, env: dict[str, str] | None = None) -> Settings:
    file = folder / "c.yaml"
    file.write_text(text + RULE, "utf-8")
    return load(file, env or {})


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(folder, text)
    return raised.value.message


def test_without_the_section_there_are_no_callbacks(tmp_path: Path) -> None:
    assert read(tmp_path, "").callbacks is None


def test_the_key_comes_from_a_file_or_the_environment_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    wanted = CallbackSettings(URL, Secret("s3cret"))
    settings = read(tmp_path, f"callbacks: {{url: '{URL}', auth_key_file: key}}\n{PUBLIC}")
    assert settings.callbacks == wanted
    assert settings.http.public == Address("0.0.0.0", 8443)
    by_env = read(tmp_path, f"callbacks: {{url: '{URL}'}}\n{PUBLIC}", {"OSS_DISPATCHER_CALLBACKS__AUTH_KEY": "s3cret"})
    assert by_env.callbacks == wanted
    assert effective(settings)["callbacks"] == {"url": URL, "auth_key": "***"}


def test_without_a_key_only_a_loopback_listener_takes_them(tmp_path: Path) -> None:
    assert read(tmp_path, f"callbacks: {{url: '{URL}'}}\n").callbacks == CallbackSettings(URL)
    assert "auth_key_file" in refused(tmp_path, f"callbacks: {{url: '{URL}'}}\n{PUBLIC}")


def test_the_page_is_not_exposed_with_callbacks(tmp_path: Path) -> None:
    said = refused(tmp_path, f"callbacks: {{url: '{URL}', auth_key: k}}\nhttp: {{listen: '0.0.0.0:80'}}\n")
    assert "write public:" in said


@pytest.mark.parametrize("url", ["events.example.com", "ftp://e/x", "https://e/a|b", "https://e/" + "x" * 256])
def test_an_address_that_cannot_be_registered_is_refused(tmp_path: Path, url: str) -> None:
    assert "callbacks.url" in refused(tmp_path, f"callbacks: {{url: '{url}', auth_key: s3cret}}\n")


def test_no_webhook_has_the_path_of_the_callbacks(tmp_path: Path) -> None:
    hook = "sources: [{type: webhook, path: /callbacks/ims, token: t}]\n"
    assert "a page of this program" in refused(tmp_path, f"callbacks: {{url: '{URL}', auth_key: k}}\n{hook}")


def test_a_key_is_not_repeated_in_an_error(tmp_path: Path) -> None:
    assert "s3cret" not in refused(tmp_path, f"callbacks: {{url: '{URL}', auth_key: [s3cret]}}\n")
