"""Pushes of an SMQ topic: what its signature admits, and what it does not."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.settings import SmqSignature, WebhookSettings
from dispatcher.errors import LedgerError
from dispatcher.web.certificates import Certificates, smq_certificate_url
from dispatcher.web.requests import RefusedError, RequestHead
from dispatcher.web.smq import SmqCheck
from tests.web.conftest import NOW, Place, make_signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tests.web.conftest import Answer, Clock, Inbox, Listener, Signer

PATH = "/events/smq-3f9c"
URL = "https://mnstest.oss-cn-hangzhou.aliyuncs.com/x509_public_certificate.pem"
BODY = b"eyJldmVudHMiOiBbXX0="
SMQ = WebhookSettings("oss-events", PATH, SmqSignature())


@dataclass(frozen=True)
class Push:
    """One push as SMQ makes it; tests change one thing and sign it again, or not."""

    body: bytes = BODY
    target: str = PATH
    certificate: str = URL
    date: datetime = NOW
    message_id: str = "6CC4D900CA59A2CD-1-15180534A8F-20000000"
    extra: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def headers(self, signer: Signer) -> dict[str, str]:
        """The headers with a signature, written here from the documentation: not by the code under test."""
        headers = {
            "Content-MD5": base64.b64encode(hashlib.md5(self.body).hexdigest().encode()).decode(),
            "Content-Type": "text/xml;charset=utf-8",
            "Date": format_datetime(self.date, usegmt=True),
            "x-mns-version": "2015-06-06",
            "x-mns-signing-cert-url": base64.b64encode(self.certificate.encode()).decode(),
            "x-mns-request-id": "57458276F0E3D56D7C00054B",
            "x-mns-message-id": self.message_id,
        } | self.extra
        for name in self.without:
            del headers[name]
        lower = {name.lower(): value for name, value in headers.items()}
        lines = ["POST", *(lower.get(name, "") for name in ("content-md5", "content-type", "date"))]
        lines += [f"{name}:{lower[name]}" for name in sorted(lower) if name.startswith("x-mns-")]
        text = "\n".join([*lines, self.target])
        signature = signer.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA1())
        return headers | {"Authorization": base64.b64encode(signature).decode()}


@dataclass
class Topic:
    """A listener with one SMQ webhook, and the place where certificates are."""

    listener: Listener
    place: Place
    signer: Signer

    def push(self, push: Push | None = None, signer: Signer | None = None, **changed: str) -> Answer:
        """Send a push; `changed` are headers replaced after the signing, with `_` for `-`."""
        push = push or Push()
        headers = push.headers(signer or self.signer) | {name.replace("_", "-"): text for name, text in changed.items()}
        return self.listener.request("POST", push.target, push.body, headers)


@pytest.fixture
def topic(listen: Callable[..., Listener], signer: Signer) -> Topic:
    place = Place({URL: signer.pem})
    return Topic(listen(SMQ, fetch=place), place, signer)


def test_a_signed_push_is_taken(topic: Topic, inbox: Inbox) -> None:
    assert topic.push().status == 204
    assert inbox.taken == [("oss-events", BODY)]


def test_the_query_and_an_md5_of_bytes_are_covered_too(topic: Topic, inbox: Inbox) -> None:
    md5 = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    assert topic.push(Push(target=f"{PATH}?a=1&b=%2F", extra={"Content-MD5": md5})).status == 204
    assert len(inbox.taken) == 1


# Forged --------------------------------------------------------------------------------------------------------


def test_a_strangers_signature_is_refused(topic: Topic, inbox: Inbox, stranger: Signer) -> None:
    assert topic.push(signer=stranger).status == 403
    assert inbox.taken == []


@pytest.mark.parametrize(
    "changed",
    [
        {"Content_Type": "application/json"},
        {"Date": format_datetime(NOW - timedelta(minutes=1), usegmt=True)},
        {"x_mns_message_id": "another"},
        {"x_mns_request_id": "another"},
        {"x_mns_extra": "1"},
        {"Authorization": base64.b64encode(bytes(256)).decode()},
        {"Authorization": ""},
        {"Authorization": "!!!"},
        {"Authorization": "AAAA"},
        {"Content_MD5": base64.b64encode(hashlib.md5(b"other").hexdigest().encode()).decode()},
        {"Content_MD5": "x"},
        {"x_mns_signing_cert_url": "%%%"},
        {"Date": "yesterday"},
        {"Date": "Fri, 20 Nov 99999 12:00:00 GMT"},
    ],
)
def test_nothing_signed_may_be_changed(topic: Topic, inbox: Inbox, changed: dict[str, str]) -> None:
    assert topic.push(None, None, **changed).status in {400, 401, 403}
    assert inbox.taken == []


def test_another_body_is_refused(topic: Topic, inbox: Inbox) -> None:
    headers = Push().headers(topic.signer)
    assert topic.listener.request("POST", PATH, b"forged", headers).status == 403
    assert inbox.taken == []


def test_a_push_to_another_path_is_refused(topic: Topic, inbox: Inbox) -> None:
    assert topic.listener.request("POST", f"{PATH}?x", BODY, Push().headers(topic.signer)).status == 403
    assert inbox.taken == []


@pytest.mark.parametrize("name", ["Content-MD5", "Date", "x-mns-signing-cert-url"])
def test_what_makes_the_signature_mean_something_must_be_there(topic: Topic, inbox: Inbox, name: str) -> None:
    assert topic.push(Push(without=(name,))).status == 401
    assert inbox.taken == []


# Certificates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x509_public_certificate.pem",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com.evil.example/x.pem",
        "https://evil.example/https://mnstest.oss-cn-hangzhou.aliyuncs.com/x.pem",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com@evil.example/x.pem",
        "https://user:pw@mnstest.oss-cn-hangzhou.aliyuncs.com/x.pem",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com:8443/x.pem",
        "https://mnstest.oss-cn-shanghai.aliyuncs.com/x.pem",
        "https://mns-cert.oss-us-west-1.aliyuncs.com/x.pem",
        "https://mns-cert.oss-cn-a.b.aliyuncs.com/x.pem",
        "https://other.oss-cn-hangzhou.aliyuncs.com/x.pem",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com/",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com/../x.pem",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com/a/../x.pem",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com/%2e%2e/x.pem",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com//evil.example/x.pem",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com/x.pem?x-oss-process=1",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com/x.pem#@evil.example",
        "https://mnstest.oss-cn-hangzhou.aliyuncs.com\\@evil.example/x.pem",
        "https://MNSTEST.oss-cn-hangzhou.aliyuncs.com/x.pem",
        f"{URL}\n",
        f" {URL}",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "ftp://mnstest.oss-cn-hangzhou.aliyuncs.com/x.pem",
        "",
    ],
)
def test_a_certificate_elsewhere_is_never_fetched(topic: Topic, inbox: Inbox, url: str, stranger: Signer) -> None:
    topic.place.files[url] = stranger.pem
    assert topic.push(Push(certificate=url), stranger).status in {401, 403}
    assert topic.place.asked == []
    assert inbox.taken == []


@pytest.mark.parametrize(
    ("url", "fetched"),
    [
        (URL, URL),
        (URL.replace("https", "http"), URL),
        ("https://mns-cert.oss-cn-shanghai.aliyuncs.com/v2/cert-2.pem", None),
        ("https://mns-cert.oss-cn-hongkong-finance.aliyuncs.com/cert", None),
    ],
)
def test_smqs_own_places_are_asked_by_https_alone(url: str, fetched: str | None) -> None:
    assert smq_certificate_url(url) == (fetched or url)


def test_a_certificate_is_fetched_once_a_day(topic: Topic, inbox: Inbox, clock: Clock) -> None:
    for number in range(3):
        assert topic.push(Push(message_id=str(number))).status == 204
    assert topic.place.asked == [URL]
    clock.now = NOW + timedelta(hours=25)
    assert topic.push(Push(date=clock.now)).status == 204
    assert topic.place.asked == [URL, URL]
    assert len(inbox.taken) == 4


def test_what_cannot_be_checked_now_is_asked_for_again(topic: Topic, inbox: Inbox) -> None:
    topic.place.fails = True
    answer = topic.push()
    assert answer.status == 503
    assert "retry-after" in answer.headers
    topic.place.fails = False
    assert topic.push().status == 204
    assert len(inbox.taken) == 1


@pytest.mark.parametrize(
    "pem", [b"", b"<Error>NoSuchKey</Error>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_admits_nothing(topic: Topic, inbox: Inbox, pem: bytes) -> None:
    topic.place.files[URL] = pem
    assert topic.push().status == 403
    assert inbox.taken == []


def test_an_expired_certificate_admits_nothing(topic: Topic, inbox: Inbox) -> None:
    old = make_signer(valid_from=NOW - timedelta(days=20), days=10)
    topic.place.files[URL] = old.pem
    assert topic.push(signer=old).status == 403
    assert inbox.taken == []


def test_forgers_cannot_make_us_fetch_without_end(topic: Topic, inbox: Inbox, stranger: Signer, clock: Clock) -> None:
    assert topic.push().status == 204
    for number in range(30):
        url = f"https://mnstest.oss-cn-hangzhou.aliyuncs.com/forged-{number}.pem"
        assert topic.push(Push(certificate=url), stranger).status == 503
    assert len(topic.place.asked) == 10
    assert topic.push(Push(message_id="genuine")).status == 204  # its certificate is known
    clock.now += timedelta(minutes=2)
    assert topic.push(Push(certificate=URL.replace("x509", "new")), stranger).status == 503
    assert len(topic.place.asked) == 11
    assert len(inbox.taken) == 2


# Replayed ------------------------------------------------------------------------------------------------------


def test_a_replayed_push_is_refused(topic: Topic, inbox: Inbox) -> None:
    headers = Push().headers(topic.signer)
    assert topic.listener.request("POST", PATH, BODY, headers).status == 204
    for _ in range(2):
        assert topic.listener.request("POST", PATH, BODY, headers).status == 409
    assert len(inbox.taken) == 1


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24 * 365])
def test_a_push_of_another_time_is_refused(topic: Topic, inbox: Inbox, minutes: int) -> None:
    assert topic.push(Push(date=NOW + timedelta(minutes=minutes))).status == 403
    assert topic.place.asked == []
    assert inbox.taken == []


@pytest.mark.parametrize("minutes", [-15, 15])
def test_clocks_may_differ_by_fifteen_minutes(topic: Topic, minutes: int) -> None:
    assert topic.push(Push(date=NOW + timedelta(minutes=minutes))).status == 204


def test_a_push_is_not_forgotten_while_it_is_valid(topic: Topic, inbox: Inbox, clock: Clock) -> None:
    push = Push(date=NOW + timedelta(minutes=15))
    assert topic.push(push).status == 204
    clock.now = NOW + timedelta(minutes=29)
    assert topic.push(push).status == 409
    clock.now = NOW + timedelta(minutes=31)
    assert topic.push(push).status == 403
    assert len(inbox.taken) == 1


def test_the_service_pushing_again_is_no_replay(topic: Topic, inbox: Inbox) -> None:
    assert topic.push().status == 204
    assert topic.push(Push(date=NOW + timedelta(seconds=20))).status == 204
    assert len(inbox.taken) == 2  # the ledger knows it: nothing starts twice


def test_a_push_that_was_not_taken_may_come_again(topic: Topic, inbox: Inbox) -> None:
    inbox.fails = LedgerError("locked", hint="wait")
    assert topic.push().status == 503
    inbox.fails = None
    assert topic.push().status == 204
    assert topic.push().status == 409


def test_a_copy_is_not_answered_before_the_first_is_decided(topic: Topic, inbox: Inbox) -> None:
    inbox.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(topic.push)
        assert inbox.entered.acquire(timeout=10)
        assert topic.push().status == 503
        inbox.gate.set()
        assert first.result(10).status == 204


# Anything ------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(max_codepoint=255), max_size=60)


@given(
    authorization=TEXT,
    certificate=TEXT | st.just(base64.b64encode(URL.encode()).decode()),
    md5=TEXT | st.just(base64.b64encode(hashlib.md5(b"").digest()).decode()),
    date=TEXT | st.datetimes().map(format_datetime) | st.just(format_datetime(NOW)),
    names=st.lists(st.tuples(st.just("x-mns-a") | st.just("date") | TEXT, TEXT), max_size=3),
)
def test_no_headers_break_the_check(
    authorization: str, certificate: str, md5: str, date: str, names: list[tuple[str, str]]
) -> None:
    check = SmqCheck(Certificates(Place(), lambda: NOW))
    fixed = {"authorization": authorization, "x-mns-signing-cert-url": certificate, "content-md5": md5, "date": date}
    head = RequestHead("POST", PATH, (*fixed.items(), *names))
    with pytest.raises(RefusedError):
        check.verify(head, b"", NOW)


def test_the_test_signs_by_the_documentation(signer: Signer) -> None:
    headers = replace(Push(), date=NOW).headers(signer)
    assert headers["Content-MD5"] == base64.b64encode(hashlib.md5(BODY).hexdigest().encode()).decode()
    assert headers["Date"] == "Fri, 20 Nov 2026 12:00:00 GMT"
