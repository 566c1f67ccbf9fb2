"""A strict OSS in memory: OSS4-HMAC-SHA256 verified from its documentation, its own XML, its own errors.

It decodes what came over the wire and encodes it again, so that a client that signs other bytes than it
sends is found out. Served: ListObjectsV2 in byte order, HEAD, PUT, POST ?append, DELETE.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

WINDOW = timedelta(minutes=15)
ALWAYS_SIGNED = ("content-type", "content-md5")
START = datetime(2026, 11, 1, tzinfo=UTC)


class Refused(Exception):  # noqa: N818 - an answer, not a defect
    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Request:
    """What came over the wire, with names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> bytes:
        return unquote_to_bytes(self.target.partition("?")[0])

    @property
    def query(self) -> dict[bytes, bytes]:
        pairs = [pair.partition("=") for pair in self.target.partition("?")[2].split("&") if pair]
        return {unquote_to_bytes(name): unquote_to_bytes(value) for name, _, value in pairs}


@dataclass
class Account:
    """Whose requests are taken, and by which clock."""

    key_id: str = "LTAItest"
    secret: str = "test-secret"
    token: str | None = None
    region: str = "cn-hangzhou"
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def verify(self, request: Request, resource: bytes) -> None:
        """Raise Refused unless the request is signed by this account, now, for this region and resource."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme != "OSS4-HMAC-SHA256":
            raise Refused(403, "AccessDenied", "You have no right to access this object because of bucket acl.")
        fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        if set(fields) - {"AdditionalHeaders"} != {"Credential", "Signature"} or fields.get("AdditionalHeaders") == "":
            raise Refused(400, "InvalidArgument", "malformed authorization")
        key_id, *scope = fields["Credential"].split("/")
        if key_id != self.key_id:
            raise Refused(403, "InvalidAccessKeyId")
        if request.headers.get("x-oss-security-token") != self.token:
            raise Refused(403, "InvalidSecurityToken")
        moment = request.headers.get("x-oss-date", "")
        self._check_time(moment)
        if scope != [moment[:8], self.region, "oss", "aliyun_v4_request"]:
            raise Refused(400, "InvalidArgument", "the scope is not this day, this region and oss")
        if request.headers.get("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
            raise Refused(400, "InvalidArgument", "x-oss-content-sha256 must be UNSIGNED-PAYLOAD")
        additional = fields["AdditionalHeaders"].split(";") if "AdditionalHeaders" in fields else []
        expected = self._signature(canonical(request, resource, additional), moment, scope)
        if not hmac.compare_digest(expected, fields["Signature"]):
            raise Refused(403, "SignatureDoesNotMatch")

    def _check_time(self, moment: str) -> None:
        try:
            sent = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise Refused(403, "AccessDenied", "no x-oss-date") from None
        if abs(self.clock() - sent) > WINDOW:
            raise Refused(403, "RequestTimeTooSkewed")

    def _signature(self, request: bytes, moment: str, scope: list[str]) -> str:
        text = ["OSS4-HMAC-SHA256", moment, "/".join(scope), hashlib.sha256(request).hexdigest()]
        key = b"aliyun_v4" + self.secret.encode()
        for part in scope:
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, "\n".join(text).encode(), "sha256").hex()


def canonical(request: Request, resource: bytes, additional: list[str]) -> bytes:
    """The canonical request of the documentation, from decoded parts."""
    query = sorted(
        (quote_from_bytes(name, safe="-_.~"), quote_from_bytes(value, safe="-_.~"))
        for name, value in request.query.items()
    )
    signed = {
        name: value.strip()
        for name, value in request.headers.items()
        if name.startswith("x-oss-") or name in ALWAYS_SIGNED or name in additional
    }
    lines = [
        request.method,
        quote_from_bytes(resource, safe="/-_.~"),
        "&".join(f"{name}={value}" if value else name for name, value in query),
        *(f"{name}:{value}" for name, value in sorted(signed.items())),
        "",
        ";".join(sorted(additional)),
        "UNSIGNED-PAYLOAD",
    ]
    return "\n".join(lines).encode()


@dataclass(frozen=True)
class Stored:
    etag: str
    size: int
    modified: datetime
    kind: str = "Normal"
    sealed: bool = False
    body: bytes = b""


@dataclass
class OssServer:
    """Serves one bucket on a free port, until it is left. `indent` False leaves white space out."""

    bucket: str = "media-bucket"
    account: Account = field(default_factory=Account)
    indent: bool = True
    now: datetime = START
    objects: dict[bytes, Stored] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    _server: Any = None

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"oss": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, key: bytes, body: bytes, kind: str = "Normal", *, sealed: bool = False) -> Stored:
        """Store an object as a client's PUT would."""
        self.now += timedelta(seconds=1)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest().upper()
        self.objects[key] = Stored(etag, len(body), self.now, kind, sealed, body)
        return self.objects[key]

    def append(self, key: bytes, position: int, body: bytes) -> Stored:
        before = self.objects.get(key)
        if before is not None and before.kind != "Appendable":
            raise Refused(409, "ObjectNotAppendable")
        if position != (before.size if before else 0):
            raise Refused(409, "PositionNotEqualToLength")
        return self.put(key, (before.body if before else b"") + body, "Appendable")

    # -- answers --------------------------------------------------------------------------------------

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(request)
        try:
            bucket, key = self._place(request)
            self.account.verify(request, b"/" + bucket + b"/" + key)
            return self._serve(request, bucket, key)
        except Refused as refused:
            body = (
                f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n  <Code>{refused.code}</Code>\n'
                f"  <Message>{escape(refused.message)}</Message>\n  <RequestId>6A21</RequestId>\n</Error>\n"
            ).encode()
            return refused.status, {"x-oss-err": base64.b64encode(body).decode(), "x-oss-ec": "0002-1"}, body

    def _place(self, request: Request) -> tuple[bytes, bytes]:
        host = request.headers["host"].partition(":")[0]
        if host.replace(".", "").isdigit():  # an address has no room for a bucket: only then in the path
            bucket, _, key = request.path.removeprefix(b"/").partition(b"/")
            return bucket, key
        return host.partition(".")[0].encode(), request.path.removeprefix(b"/")

    def _serve(self, request: Request, bucket: bytes, key: bytes) -> tuple[int, dict[str, str], bytes]:
        if bucket != self.bucket.encode():
            raise Refused(404, "NoSuchBucket")
        match request.method, key:
            case "GET", b"" if request.query.get(b"list-type") == b"2":
                return 200, {"content-type": "application/xml"}, self._list(request.query).encode()
            case "HEAD", _ if key in self.objects:
                return 200, _head_of(self.objects[key]), b""
            case "HEAD", _:
                raise Refused(404, "NoSuchKey")
            case "PUT", _ if key:
                stored = self.put(key, request.body)
                return 200, {"etag": f'"{stored.etag}"'}, b""
            case "POST", _ if key and b"append" in request.query:
                stored = self.append(key, int(request.query[b"position"]), request.body)
                return 200, {"etag": f'"{stored.etag}"', "x-oss-next-append-position": str(stored.size)}, b""
            case "DELETE", _ if key:
                self.objects.pop(key, None)
                return 204, {}, b""
            case _:
                raise Refused(400, "InvalidArgument")

    def _list(self, query: dict[bytes, bytes]) -> str:
        most = int(query.get(b"max-keys", b"100"))
        if not 1 <= most <= 1000:
            raise Refused(400, "InvalidArgument", "max-keys")
        url = query.get(b"encoding-type") == b"url"
        after = base64.urlsafe_b64decode(query.get(b"continuation-token", b""))
        keys = sorted(key for key in self.objects if key.startswith(query.get(b"prefix", b"")) and key > after)
        shown = keys[:most]
        frame = [
            ("Name", self.bucket),
            ("Prefix", _spell(query.get(b"prefix", b""), url=url)),
            ("MaxKeys", str(most)),
            ("Delimiter", ""),
            *([("EncodingType", "url")] if url else []),
            ("IsTruncated", "true" if len(keys) > most else "false"),
        ]
        if len(keys) > most:
            frame.append(("NextContinuationToken", base64.urlsafe_b64encode(shown[-1]).decode()))
        lines = [f"  <{name}>{text}</{name}>" for name, text in frame]
        lines += [line for key in shown for line in _entry(_spell(key, url=url), self.objects[key])]
        lines.append(f"  <KeyCount>{len(shown)}</KeyCount>")
        text = "\n".join(lines) if self.indent else "".join(line.strip() for line in lines)
        gap = "\n" if self.indent else ""
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>{gap}{text}{gap}</ListBucketResult>{gap}'


def _spell(key: bytes, *, url: bool) -> str:
    return quote_from_bytes(key, safe="-_.~") if url else escape(key.decode())


def _entry(key: str, stored: Stored) -> list[str]:
    modified = stored.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    fields = [
        ("Key", key),
        ("LastModified", modified),
        *([("SealedTime", modified)] if stored.sealed else []),
        ("ETag", f'"{stored.etag}"'),
        ("Type", stored.kind),
        ("Size", str(stored.size)),
        ("StorageClass", "Standard"),
    ]
    return ["  <Contents>", *(f"    <{name}>{text}</{name}>" for name, text in fields), "  </Contents>"]


def _head_of(stored: Stored) -> dict[str, str]:
    return {
        "etag": f'"{stored.etag}"',
        "content-length": str(stored.size),
        "last-modified": format_datetime(stored.modified, usegmt=True),
        "x-oss-object-type": stored.kind,
        "x-oss-storage-class": "Standard",
        **({"x-oss-sealed-time": format_datetime(stored.modified, usegmt=True)} if stored.sealed else {}),
    }


class _Handler(BaseHTTPRequestHandler):
    oss: ClassVar[OssServer]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = urlsplit(self.path)
        request = Request(self.command, target.path + (f"?{target.query}" if target.query else ""), headers, body)
        status, answered, said = self.oss.answer(request)
        self.send_response_only(status)
        self.send_header("Date", format_datetime(self.oss.now, usegmt=True))
        self.send_header("x-oss-request-id", "6A21")
        for name, value in answered.items():
            self.send_header(name, value)
        if "content-length" not in answered and status != 204:
            self.send_header("content-length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
        """Print nothing."""
