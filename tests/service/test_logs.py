"""The log: stable lines, safe to read and to keep."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.service import logs

if TYPE_CHECKING:
    from collections.abc import Callable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def told(plain_logging: None) -> Callable[[], list[dict[str, Any]]]:
    """Configure the log as JSON; return a function that gives what was written."""
    stream = io.StringIO()
    logs.configure(stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_an_event_a_level_and_a_time(told: Callable[[], list[dict[str, Any]]]) -> None:
    logs.get_logger().info("dispatch.started", task_id="t1", size=7, reason=None)
    (line,) = told()
    assert line.pop("at").endswith("Z")
    assert line == {"event": "dispatch.started", "level": "info", "task_id": "t1", "size": 7, "reason": None}


def test_a_terminal_gets_text_for_people(plain_logging: None) -> None:
    stream = Terminal()
    logs.configure(stream=stream)
    logs.get_logger().info("daemon.ready", buckets=2)
    assert "daemon.ready" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(
    ("verbose", "quiet", "shown"),
    [(False, False, ["info", "error"]), (True, False, ["debug", "info", "error"]), (False, True, ["error"])],
)
def test_how_much_is_told(plain_logging: None, verbose: bool, quiet: bool, shown: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, verbose=verbose, quiet=quiet)
    for level in ("debug", "info", "error"):
        getattr(logs.get_logger(), level)("event")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://b.s3.example/k?X-Amz-Signature=HUSH&X-Amz-Credential=HUSH&x=1",
        "https://b.oss-cn-hangzhou.aliyuncs.com/k?OSSAccessKeyId=id&Signature=HUSH&Expires=1",
        "https://b.oss/k?x-oss-signature=HUSH&x-oss-credential=HUSH&x-oss-security-token=HUSH",
        "GET /?security-token=HUSH",
        "https://ice/?SecurityToken=HUSH&Action=StartWorkflow",
        "Authorization: ACS3-HMAC-SHA256 Credential=HUSH,SignedHeaders=host,Signature=HUSH",
        "Authorization: AWS4-HMAC-SHA256 Credential=HUSH/2026/x, SignedHeaders=host, Signature=HUSH",
        "authorization=Bearer HUSH",
        "Authorization: MNS id:HUSH",
        "{'Authorization': 'Bearer HUSH'}",
        '{"x-amz-security-token": "HUSH"}',
        "x-acs-security-token: HUSH",
        "AccessKeySecret=HUSH",
        "access_key_secret: HUSH",
        "password=HUSH",
        "proxied: https%3A%2F%2Fb.oss%2Fk%3FSignature%3DHUSH",
    ],
)
@pytest.mark.parametrize("how", ["value", "event", "nested", "exception", "library"])
def test_signatures_and_tokens_are_masked_wherever_they_stand(
    told: Callable[[], list[dict[str, Any]]], text: str, how: str
) -> None:
    log = logs.get_logger()
    match how:
        case "value":
            log.info("sent", error=text)
        case "event":
            log.info(text)
        case "nested":
            log.info("sent", detail={"tried": [text, (text,)]})
        case "exception":
            log.error("call.defect", exc_info=ValueError(text))
        case _:
            logging.getLogger("library").warning(text)
    assert "HUSH" not in json.dumps(told())
    assert logs.MASK in json.dumps(told())


@pytest.mark.parametrize(
    "name", ["access_key_secret", "password", "authorization", "Authorization", "security_token", "secret", "signature"]
)
def test_fields_that_are_secrets_by_name_are_masked(told: Callable[[], list[dict[str, Any]]], name: str) -> None:
    logs.get_logger().info("event", **{name: "HUSH", "more": {name: "HUSH"}, "list": [{name: "HUSH"}]})
    (line,) = told()
    assert (line[name], line["more"][name]) == (logs.MASK, logs.MASK)
    assert "HUSH" not in json.dumps(line)


def test_what_is_no_secret_stays(told: Callable[[], list[dict[str, Any]]]) -> None:
    hint = "check the credentials: and the bucket's endpoint"
    logs.get_logger().info("pass.failed", hint=hint, key="in/signature dish/authorization.mp4")
    (line,) = told()
    assert (line["hint"], line["key"]) == (hint, "in/signature dish/authorization.mp4")


def test_a_hostile_key_cannot_forge_a_line_or_move_the_cursor(told: Callable[[], list[dict[str, Any]]]) -> None:
    key = 'in/a\n{"event": "daemon.ready"}\r\x1b[2J\x9b1m\u2028\u202e\udcff"'
    logs.get_logger().info("dispatch.recorded", key=key, keys=[key], by_name={"k": key})
    (line,) = told()
    for shown in (line["key"], *line["keys"], line["by_name"]["k"]):
        assert shown.isprintable()
        assert r"\x1b[2J" in shown
        assert r"\udcff" in shown


def test_a_hostile_key_on_a_terminal(plain_logging: None) -> None:
    stream = Terminal()
    logs.configure(stream=stream)
    logs.get_logger().info("dispatch.recorded", key="in/\x1b]0;owned\x07\n\u202e.mp4")
    assert "\x1b]0" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_libraries_speak_in_our_form_and_only_warnings(told: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("urllib3").warning("retrying %s", "soon")
    logging.getLogger("urllib3").info("connected")
    (line,) = told()
    assert (line["event"], line["logger"], line["message"]) == ("library.message", "urllib3", "retrying soon")
    assert line["level"] == "warning"
