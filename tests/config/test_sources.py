"""The sources and listeners of a configuration: what is understood, and what is refused with advice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.config import load, policy
from dispatcher.config.showing import effective
from dispatcher.core.decoding import Acceptance, Format
from dispatcher.core.settings import (
    Address,
    BearerToken,
    EventBridgeToken,
    FolderSettings,
    Hmac,
    HttpSettings,
    NoAuthentication,
    PollSettings,
    Secret,
    SmqSettings,
    SmqSignature,
    SnsSignature,
    SqsSettings,
    StoreApi,
    WebhookSettings,
)
from dispatcher.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.core.settings import Settings

RULE = "rules: [{name: a, input: 'http://m.oss-cn-x.aliyuncs.com/in/', workflow: w}]\n"
HOOK = "type: webhook, path: /hook"


def read(folder: Path, sources: str, more: str = "") -> Settings:
    file = folder / "c.yaml"
    file.write_text(f"sources: [{sources}]\n{more}{RULE}", "utf-8")
    return load(file, {})


def refused(folder: Path, sources: str, more: str = "") -> str:
    with pytest.raises(ConfigError) as raised:
        read(folder, sources, more)
    return raised.value.message


def test_polling_goes_on_beside_other_sources(tmp_path: Path) -> None:
    settings = read(tmp_path, "{type: smq, endpoint: mns.example.com, queue: q}")
    assert settings.poll == PollSettings()
    assert settings.sources == (SmqSettings("smq:q", "https://mns.example.com", "q"),)


def test_polling_can_be_switched_off_only_beside_another_source(tmp_path: Path) -> None:
    assert read(tmp_path, "{type: poll, every: never}, {type: folder, path: x}").poll is None
    assert "nothing would ever be seen" in refused(tmp_path, "{type: poll, every: never}")


def test_every_key_of_the_queues(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        "{type: smq, name: one, endpoint: 'http://h:1', queue: q, format: oss, accept: [append], buckets: [m],"
        " wait: 0s, visibility: 1m, credentials: {type: access_key, access_key_id: i, access_key_secret: s}},"
        "{type: sqs, queue_url: 'http://127.0.0.1:5/1/up', region: us-east-1, endpoint: 'http://127.0.0.1:5',"
        " accept: [replication], format: s3}",
    )
    smq, sqs = settings.sources
    assert isinstance(smq, SmqSettings)
    assert (smq.name, smq.format, smq.accept) == ("one", Format.OSS, Acceptance(append=True))
    assert (smq.wait, smq.visibility, smq.buckets) == (timedelta(), timedelta(minutes=1), ("m",))
    assert smq.credentials is not None
    assert smq.credentials.access_key_secret == Secret("s")
    assert sqs == SqsSettings(
        "sqs:up",
        "http://127.0.0.1:5/1/up",
        "us-east-1",
        endpoint="http://127.0.0.1:5",
        format=Format.S3,
        accept=Acceptance(replication=True),
    )


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("https://eu-west-3.queue.amazonaws.com/1/q", "eu-west-3"),
    ],
)
def test_the_region_of_a_queue_follows_from_its_url(tmp_path: Path, url: str, region: str) -> None:
    (source,) = read(tmp_path, f"{{type: sqs, queue_url: '{url}'}}").sources
    assert isinstance(source, SqsSettings)
    assert source.region == region


@pytest.mark.parametrize(
    ("written", "authentication"),
    [
        ("", NoAuthentication()),
        ("token: t", BearerToken(Secret("t"))),
        ("token_file: secret", BearerToken(Secret("from-file"))),
        ("hmac_secret: k, hmac_header: X-Sig", Hmac(Secret("k"), "x-sig")),
        ("eventbridge_token_file: secret", EventBridgeToken(Secret("from-file"))),
        ("signature: smq", SmqSignature()),
        ("signature: sns, topic_arns: ['arn:x']", SnsSignature(("arn:x",))),
    ],
)
def test_the_ways_of_authentication(tmp_path: Path, written: str, authentication: object) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    (source,) = read(tmp_path, f"{{{HOOK}, {written}}}").sources
    assert isinstance(source, WebhookSettings)
    assert (source.name, source.path, source.authentication) == ("webhook:/hook", "/hook", authentication)


def test_a_folder_mirrors_the_only_bucket_and_lies_beside_the_configuration(tmp_path: Path) -> None:
    (source,) = read(tmp_path, "{type: folder, path: inbox, prefix: in/, polling: true}").sources
    assert isinstance(source, FolderSettings)
    assert (source.path, source.bucket, source.prefix, source.polling) == (tmp_path / "inbox", "m", "in/", True)


def test_the_listeners(tmp_path: Path) -> None:
    assert read(tmp_path, "{type: poll}").http == HttpSettings()
    one = read(tmp_path, f"{{{HOOK}}}", "http: {listen: '[::1]:9'}\n").http
    assert one == HttpSettings(Address("::1", 9), Address("::1", 9))
    two = read(tmp_path, f"{{{HOOK}, token: t}}", "http: {public: {listen: '0.0.0.0:80'}}\n").http
    assert two == HttpSettings(Address("127.0.0.1", 8080), Address("0.0.0.0", 80))
    assert str(one.public) == "[::1]:9"


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "'[::]:80'", "10.0.0.1:80", "example.com:80", "127.0.0.1.nip.io:80"])
def test_a_webhook_without_authentication_is_refused_off_loopback(tmp_path: Path, listen: str) -> None:
    said = refused(tmp_path, f"{{{HOOK}}}", f"http: {{public: {{listen: {listen}}}}}\n")
    assert "anybody who reaches" in said
    assert "c.yaml:1: sources[0]" in said


@pytest.mark.parametrize("listen", ["127.0.0.1:80", "127.9.9.9:80", "'[::1]:80'", "localhost:80"])
def test_a_webhook_without_authentication_is_taken_on_loopback(tmp_path: Path, listen: str) -> None:
    (source,) = read(tmp_path, f"{{{HOOK}}}", f"http: {{public: {{listen: {listen}}}}}\n").sources
    assert isinstance(source, WebhookSettings)


def test_the_page_is_not_exposed_with_webhooks(tmp_path: Path) -> None:
    assert "write public:" in refused(tmp_path, f"{{{HOOK}, token: t}}", "http: {listen: '0.0.0.0:80'}\n")
    both = "http: {listen: '0.0.0.0:80', public: {listen: '0.0.0.0:80'}}\n"
    assert "another port" in refused(tmp_path, f"{{{HOOK}, token: t}}", both)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ("{type: kafka}", "write type: one of poll, smq, sqs, webhook, folder"),
        ("{name: x}", "write type: one of"),
        ("poll", "write type: one of"),
        ("{type: smq, endpoint: e}", "sources[0].queue: this key is missing"),
        ("{type: smq, endpoint: e, queue: q, tokn: x}", "unknown key `tokn`"),
        ("{type: webhook, path: /a, tokn: x}", "did you mean `token`?"),
        ("{type: smq, endpoint: e, queue: q, wait: 31s}", "from 0s to 30s"),
        ("{type: smq, endpoint: e, queue: q, format: xml}", "write 'oss'"),
        ("{type: smq, endpoint: e, queue: q, accept: [all]}", "'replication' or 'append'"),
        ("{type: smq, endpoint: e, queue: q, buckets: [other]}", "no rule and no entry"),
        ("{type: smq, endpoint: e, queue: q}, {type: smq, endpoint: f, queue: q}", "already the name"),
        ("{type: smq, endpoint: e, queue: q, name: 'poll:m/in'}", "write another name"),
        ("{type: sqs, queue_url: 'http://127.0.0.1:5/1/q'}", "write region:"),
        ("{type: sqs, queue_url: q, region: r}", "no URL of a queue"),
        ("{type: webhook, path: hook}", "no path"),
        ("{type: webhook, path: /a/../b?c}", "no path"),
        ("{type: webhook, path: /metrics/x}", "page of this program"),
        ("{type: webhook, path: /a}, {type: webhook, name: b, path: /a}", "already the path"),
        ("{type: webhook, path: /a, token: t, signature: smq}", "keep one"),
        ("{type: webhook, path: /a, hmac_secret: t}", "needs hmac_header"),
        ("{type: webhook, path: /a, hmac_header: X-A}", "nothing is verified"),
        ("{type: webhook, path: /a, hmac_secret: t, hmac_header: 'a b'}", "no name of a header"),
        ("{type: webhook, path: /a, signature: sns}", "topic_arns"),
        ("{type: webhook, path: /a, topic_arns: [x]}", "belongs to signature: sns"),
        ("{type: webhook, path: /a, token_file: nowhere}", "cannot read nowhere"),
        ("{type: folder, path: x, bucket: other}", "no rule and no entry"),
        ("{type: folder, path: x, prefix: /in}", "no slash in front"),
        ("{type: folder, path: x, polling: sometimes}", "write auto"),
    ],
)
def test_a_wrong_source_says_what_to_write(tmp_path: Path, sources: str, said: str) -> None:
    assert said in refused(tmp_path, sources)


def test_a_wrong_source_hides_nothing_of_the_others(tmp_path: Path) -> None:
    said = refused(tmp_path, "{type: kafka}, {type: webhook, path: x}, {type: smq, endpoint: e, queue: q, wait: 5}")
    assert [f"sources[{place}]" in said for place in range(3)] == [True, True, True]


@pytest.mark.parametrize("listen", ["8080", ":8080", "127.0.0.1:", "127.0.0.1:70000", "::1:80", "http://h:80"])
def test_a_wrong_listener_says_what_to_write(tmp_path: Path, listen: str) -> None:
    assert "0.0.0.0" in refused(tmp_path, "{type: poll}", f"http: {{listen: '{listen}'}}\n")


def test_a_secret_is_not_repeated_in_an_error(tmp_path: Path) -> None:
    said = refused(tmp_path, f"{{{HOOK}, token: 12345678}}", "")
    assert "12345678" not in said
    assert "quote it" in said


def test_the_policy_grants_the_queue(tmp_path: Path) -> None:
    shown = str(policy(read(tmp_path, "{type: smq, endpoint: e, queue: q}")))
    assert "mns:ReceiveMessage" in shown
    assert "acs:mns:*:*:/queues/q/messages" in shown


def test_the_native_api_is_not_spoken_at_an_s3_endpoint(tmp_path: Path) -> None:
    said = refused(tmp_path, "{type: poll}", "buckets: [{name: m, api: oss, endpoint: s3.oss-cn-x.aliyuncs.com}]\n")
    assert "without the s3. in front" in said


def test_the_native_api_needs_a_region_to_sign_for(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    bucket = "{name: m, api: oss, endpoint: oss.intranet.example}"
    rule = "{name: r, input: 'oss://m/in/', workflow: {id: w, media_url: 'oss://x/{key}'}}"
    file.write_text(f"buckets: [{bucket}]\nims: {{endpoint: ice.cn-x.aliyuncs.com}}\nrules: [{rule}]\n", "utf-8")
    with pytest.raises(ConfigError, match="write the bucket's region"):
        load(file, {})


def test_the_native_api_has_its_own_endpoint(tmp_path: Path) -> None:
    settings = read(tmp_path, "{type: poll}", "buckets: [{name: m, api: oss}]\n")
    bucket = settings.buckets["m"]
    assert (bucket.api, bucket.endpoint) == (StoreApi.OSS, "https://oss-cn-x.aliyuncs.com")


def test_the_page_changes_things_only_with_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct-horse\n")
    source = "{type: poll}"
    assert read(tmp_path, source).http.token is None
    assert read(tmp_path, source, "http: {token_file: token}\n").http.token == Secret("correct-horse")
    assert read(tmp_path, source, "http: {token_file: token, writes: false}\n").http.token is None
    message = refused(tmp_path, source, "http: {listen: '0.0.0.0:8080', writes: true}\n")
    assert "c.yaml:2: http.writes" in message
    assert "anybody who reaches 0.0.0.0:8080" in message


def test_the_token_of_the_page_is_masked(tmp_path: Path) -> None:
    settings = read(tmp_path, "{type: poll}", "http: {token: correct-horse, hosts: [ops.example.com]}\n")
    assert effective(settings)["http"] == {"listen": "127.0.0.1:8080", "token": "***", "hosts": ["ops.example.com"]}
