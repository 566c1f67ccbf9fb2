"""A local SMQ, strict where the real service is: signature, clock window, receipts, visibility, limits of a batch.

Written from the API's documentation (version 2015-06-06); the official client speaks to it too, so that it is
not merely what our own client believes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

from tests.sources.smq_wire import (
    NS,
    PATIENT,
    XMLNS,
    Answer,
    Http,
    Refused,
    Request,
    error_answer,
    errors_answer,
    md5_of,
    millis,
    number,
    read_xml,
    xml_answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = timedelta(minutes=15)
LARGEST_BODY = 64 * 1024


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Clock:
    """A clock that only a test moves."""

    now: datetime = datetime(2026, 3, 14, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def later(self, **wait: float) -> None:
        self.now += timedelta(**wait)


@dataclass(frozen=True)
class Keys:
    key_id: str = "smq-key"
    secret: str = "smq-secret"
    token: str | None = None


@dataclass
class Stored:
    number: int
    message_id: str
    body: str
    enqueued: datetime
    visible_at: datetime
    receipt: str = ""
    dequeued: int = 0
    first_dequeued: datetime | None = None


@dataclass
class SmqServer:
    """One queue on a loopback port. `clock` moves visibility; `signing_clock` judges the date of requests.

    `faults` are answered first, one for each request. Thread-safe.
    """

    queue: str = "oss-events"
    keys: Keys = field(default_factory=Keys)
    clock: Callable[[], datetime] = utc_now
    signing_clock: Callable[[], datetime] = utc_now
    visibility: timedelta = timedelta(seconds=30)
    faults: deque[Answer] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    _stored: dict[str, Stored] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _closing: bool = False

    def __enter__(self) -> Self:
        self._http = Http(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="smq")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        self._http.shutdown()
        self._thread.join()
        self._http.end_connections()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    # -- what a test says and sees -------------------------------------------------------------------

    def send(self, *bodies: bytes | str, base64_encoded: bool = True) -> None:
        for body in bodies:
            raw = body.encode() if isinstance(body, str) else body
            self._store(base64.b64encode(raw).decode() if base64_encoded else raw.decode())

    def left(self) -> int:
        """How many messages are not deleted."""
        with self.changed:
            return len(self._stored)

    def visible(self) -> int:
        with self.changed:
            return len(self._visible())

    def moved(self) -> None:
        """Let long polls look again, after the clock was moved."""
        with self.changed:
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENT), f"{what}: not within {PATIENT} s"

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)

    def has_seen(self, method: str, number: int) -> bool:
        return self.count(method) >= number

    # -- the service ---------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            if self.faults:
                return self.faults.popleft()
        try:
            self._verify(request)
            return self._route(request)
        except Refused as refused:
            with self.changed:
                self.refused.append(refused.code)
            return error_answer(refused.status, refused.code)

    def is_closing(self) -> bool:
        return self._closing

    def _verify(self, request: Request) -> None:
        headers = request.headers
        if headers.get("x-mns-version") != "2015-06-06":
            raise Refused(400, "InvalidArgument")
        if "authorization" not in headers:
            raise Refused(400, "MissingAuthorizationHeader")
        self._verify_date(headers.get("date", ""))
        self._verify_body(request)
        scheme, _, credential = headers["authorization"].partition(" ")
        key_id, _, signature = credential.partition(":")
        if scheme != "MNS" or not signature:
            raise Refused(400, "InvalidAuthorizationHeader")
        if key_id != self.keys.key_id:
            raise Refused(403, "InvalidAccessKeyId")
        if headers.get("security-token") != self.keys.token:
            raise Refused(403, "InvalidSecurityToken")
        if not hmac.compare_digest(signature, self._signature(request)):
            raise Refused(403, "SignatureDoesNotMatch")

    @staticmethod
    def _verify_body(request: Request) -> None:
        headers = request.headers
        if request.body:
            digest = base64.b64encode(hashlib.md5(request.body).hexdigest().encode()).decode()
            if headers.get("content-md5") != digest:
                raise Refused(400, "InvalidDegist")
            if not headers.get("content-type", "").startswith("text/xml"):
                raise Refused(400, "InvalidArgument")
        elif "content-md5" in headers or "content-type" in headers:
            raise Refused(400, "InvalidArgument")

    def _verify_date(self, text: str) -> None:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            raise Refused(400, "InvalidDateHeader") from None
        if not text.endswith("GMT"):
            raise Refused(400, "InvalidDateHeader")
        if abs(self.signing_clock() - date) > WINDOW:
            raise Refused(408, "TimeExpired")

    def _signature(self, request: Request) -> str:
        text = f"{request.method}\n"
        for name in ("content-md5", "content-type", "date"):
            text += request.headers.get(name, "") + "\n"
        for name in sorted(request.headers):
            if name.startswith("x-mns-"):
                text += f"{name}:{request.headers[name]}\n"
        digest = hmac.new(self.keys.secret.encode(), (text + request.target).encode(), hashlib.sha1).digest()
        return base64.b64encode(digest).decode()

    def _route(self, request: Request) -> Answer:
        path = unquote(urlsplit(request.target).path).split("/")
        if path[1:2] != ["queues"] or len(path) not in (3, 4):
            raise Refused(400, "InvalidRequestURL")
        if path[2] != self.queue:
            raise Refused(404, "QueueNotExist")
        if len(path) == 3 and request.method == "PUT":
            location = ("Location", f"{self.url}/queues/{self.queue}")
            return Answer(201, headers=(location,))
        if len(path) == 3 or path[3] != "messages":
            raise Refused(400, "InvalidRequestURL")
        match request.method:
            case "POST":
                return self._send(request)
            case "GET":
                return self._receive(request)
            case "DELETE":
                return self._delete(request)
            case "PUT":
                return self._hide(request)
            case _:
                raise Refused(400, "InvalidRequestURL")

    def _send(self, request: Request) -> Answer:
        root = read_xml(request.body)
        batch = root.tag == f"{{{NS}}}Messages"
        bodies = [each.findtext(f"{{{NS}}}MessageBody", "") for each in (root if batch else [root])]
        if not 1 <= len(bodies) <= 16 or any(not body or len(body.encode()) > LARGEST_BODY for body in bodies):
            raise Refused(400, "InvalidArgument")
        sent = "".join(
            f"<Message{'' if batch else XMLNS}><MessageId>{stored.message_id}</MessageId>"
            f"<MessageBodyMD5>{md5_of(stored.body)}</MessageBodyMD5></Message>"
            for stored in map(self._store, bodies)
        )
        return xml_answer(201, f"<Messages{XMLNS}>{sent}</Messages>" if batch else sent)

    def _store(self, body: str) -> Stored:
        with self.changed:
            number = next(self._numbers)
            now = self.clock()
            stored = Stored(number, f"5F290C926D472878-2-14D9529A8FA-{number:09d}", body, now, now)
            self._stored[stored.message_id] = stored
            self.changed.notify_all()
            return stored

    def _visible(self) -> list[Stored]:
        now = self.clock()
        return [stored for stored in self._stored.values() if stored.visible_at <= now]

    def _receive(self, request: Request) -> Answer:
        query = request.query
        if not query.keys() <= {"numOfMessages", "waitseconds", "peekonly"}:
            raise Refused(400, "InvalidQueryString")
        most = number(query.get("numOfMessages", "1"), 1, 16)
        wait = number(query.get("waitseconds", "0"), 0, 30)
        with self.changed:
            self.changed.wait_for(lambda: self._closing or self._visible(), wait)
            found = self._visible()[:most]
            if not found:
                raise Refused(404, "MessageNotExist")
            if query.get("peekonly") != "true":
                for stored in found:
                    self._hand_out(stored)
            self.changed.notify_all()
            parts = [self._spell(stored) for stored in found]
        if "numOfMessages" in query:
            return xml_answer(
                200, f"<Messages{XMLNS}>{''.join(f'<Message>{each}</Message>' for each in parts)}</Messages>"
            )
        return xml_answer(200, f"<Message{XMLNS}>{parts[0]}</Message>")

    def _hand_out(self, stored: Stored) -> None:
        stored.dequeued += 1
        stored.first_dequeued = stored.first_dequeued or self.clock()
        stored.visible_at = self.clock() + self.visibility
        stored.receipt = self._receipt(stored)

    def _receipt(self, stored: Stored) -> str:
        text = f"{stored.number}-{next(self._numbers)}\xff\xfb"
        return f"1-{base64.b64encode(text.encode('latin-1')).decode()}"

    def _spell(self, stored: Stored) -> str:
        fields = {
            "MessageId": stored.message_id,
            "ReceiptHandle": stored.receipt,
            "MessageBody": stored.body,
            "MessageBodyMD5": md5_of(stored.body),
            "EnqueueTime": millis(stored.enqueued),
            "NextVisibleTime": millis(stored.visible_at),
            "FirstDequeueTime": millis(stored.first_dequeued or stored.enqueued),
            "DequeueCount": str(stored.dequeued),
            "Priority": "8",
        }
        return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())

    def _of_receipt(self, receipt: str) -> Stored:
        for stored in self._stored.values():
            if stored.receipt == receipt and receipt:
                if stored.visible_at <= self.clock():
                    raise Refused(404, "MessageNotExist")
                return stored
        raise Refused(400, "ReceiptHandleError")

    def _delete(self, request: Request) -> Answer:
        if not request.body:
            return self._delete_one(request.query)
        root = read_xml(request.body)
        receipts = [each.text or "" for each in root if each.tag == f"{{{NS}}}ReceiptHandle"]
        if root.tag != f"{{{NS}}}ReceiptHandles" or not 1 <= len(receipts) <= 16 or request.query:
            raise Refused(400, "InvalidArgument")
        failed: list[tuple[str, str]] = []
        with self.changed:
            for receipt in receipts:
                try:
                    del self._stored[self._of_receipt(receipt).message_id]
                except Refused as refused:
                    failed.append((refused.code, receipt))
            self.changed.notify_all()
        return errors_answer(failed) if failed else Answer(204)

    def _delete_one(self, query: dict[str, str]) -> Answer:
        if query.keys() != {"ReceiptHandle"}:
            raise Refused(400, "InvalidQueryString")
        with self.changed:
            del self._stored[self._of_receipt(query["ReceiptHandle"]).message_id]
            self.changed.notify_all()
        return Answer(204)

    def _hide(self, request: Request) -> Answer:
        query = request.query
        if query.keys() != {"ReceiptHandle", "VisibilityTimeout"} or request.body:
            raise Refused(400, "InvalidQueryString")
        seconds = number(query["VisibilityTimeout"], 1, 43200)
        with self.changed:
            stored = self._of_receipt(query["ReceiptHandle"])
            stored.receipt = self._receipt(stored)
            stored.visible_at = self.clock() + timedelta(seconds=seconds)
            self.changed.notify_all()
            fields = f"<ReceiptHandle>{stored.receipt}</ReceiptHandle>"
            fields += f"<NextVisibleTime>{millis(stored.visible_at)}</NextVisibleTime>"
        return xml_answer(200, f"<ChangeVisibility{XMLNS}>{fields}</ChangeVisibility>")
