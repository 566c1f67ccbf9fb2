"""Who may do what: under which names the page is served, and who may change things through it.

Reading needs no token. Changing needs the configured one: `Authorization: Bearer`, or a session that began with
it. A browser sends cookies for whoever asks it to, so a change must also come from a page of this host.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.requests import Request

    from dispatcher.core.settings import Address, Secret

COOKIE = "oss_dispatcher_session"
SESSION_LASTS = timedelta(hours=12)
FAILURES = 10
"""Wrong tokens of one client within `FORGIVEN_AFTER`; then not even a right one is looked at."""
FORGIVEN_AFTER = timedelta(minutes=5)
_MOST_SESSIONS = 1_000
_MOST_CLIENTS = 4_096
_LONGEST = 4_096


class DeniedError(Exception):
    """A request that is refused; message and hint are for whoever sent it, and hold nothing secret."""

    def __init__(self, status: HTTPStatus, message: str, hint: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint


@dataclass
class Sessions:
    """Sessions of browsers, by the digest of their id. In memory: a restart ends them. Thread-safe."""

    clock: Callable[[], datetime]
    _until: OrderedDict[bytes, datetime] = field(default_factory=OrderedDict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def begin(self) -> str:
        """Return the id of a new session."""
        made = secrets.token_urlsafe(32)
        with self._lock:
            self._until[_digest(made)] = self.clock() + SESSION_LASTS
            while len(self._until) > _MOST_SESSIONS:
                self._until.popitem(last=False)
        return made

    def holds(self, session: str) -> bool:
        """Tell whether a session goes on."""
        with self._lock:
            until = self._until.get(_digest(session))
        return until is not None and self.clock() < until

    def end(self, session: str) -> None:
        """End a session. Idempotent."""
        with self._lock:
            self._until.pop(_digest(session), None)


@dataclass
class Failures:
    """Wrong tokens by client, so that guessing takes longer than anybody lives. Thread-safe."""

    clock: Callable[[], datetime]
    _seen: OrderedDict[str, tuple[int, datetime]] = field(default_factory=OrderedDict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def too_many(self, client: str) -> bool:
        """Tell whether this client has failed too often of late."""
        with self._lock:
            count, until = self._seen.get(client, (0, self.clock()))
            return count >= FAILURES and self.clock() < until

    def add(self, client: str) -> None:
        """Count a failure."""
        with self._lock:
            now = self.clock()
            count, until = self._seen.pop(client, (0, now))
            self._seen[client] = (count + 1 if now < until else 1, now + FORGIVEN_AFTER)
            while len(self._seen) > _MOST_CLIENTS:
                self._seen.popitem(last=False)


@dataclass
class Access:
    """Decides. `names` None: the listener is no loopback one, and is reached by whatever name the network has."""

    token: Secret | None
    names: frozenset[str] | None
    sessions: Sessions
    failures: Failures

    @classmethod
    def of(cls, listen: Address, token: Secret | None, hosts: tuple[str, ...], clock: Callable[[], datetime]) -> Access:
        """Return the access of a listener."""
        loopback = _is_loopback(listen.host)
        names = frozenset({"localhost", listen.host.lower(), *(host.lower() for host in hosts)})
        return cls(token, names if loopback else None, Sessions(clock), Failures(clock))

    def check_host(self, request: Request) -> None:
        """Refuse a request for another name: a hostile page could have made its name resolve to us. DeniedError."""
        host = request.headers.get("host", "")
        if self.names is None or host.lower() in self.names:
            return
        name = _name_of(host)
        if name not in self.names and not _is_loopback(name):
            raise DeniedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this page is not served under that name",
                "open it as localhost, or write the name under http: hosts: in the configuration",
            )

    def begin(self, given: str, request: Request) -> str:
        """Return the id of a new session for the right token. Raises DeniedError."""
        self._from_here(request, needed=True)
        self._compare(given, request)
        return self.sessions.begin()

    def may_change(self, request: Request) -> bool:
        """Tell whether this browser has a session: what it may do is shown to it."""
        session = request.cookies.get(COOKIE, "")
        return self.token is not None and bool(session) and self.sessions.holds(session)

    def demand(self, request: Request) -> None:
        """Check that a request may change things. Raises DeniedError."""
        if self.token is None:
            raise DeniedError(
                HTTPStatus.FORBIDDEN,
                "this page only shows: no token is configured",
                "write http: {token_file: ...} in the configuration, or use the command line",
            )
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self._from_here(request, needed=False)
            self._compare(given.strip(), request)
        elif self.may_change(request):
            self._from_here(request, needed=True)
        else:
            raise DeniedError(HTTPStatus.UNAUTHORIZED, "this needs the token", "log in, or send Authorization: Bearer")

    def _compare(self, given: str, request: Request) -> None:
        client = request.client.host if request.client is not None else "unknown"
        if self.failures.too_many(client):
            raise DeniedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many wrong tokens came from this address",
                f"wait {FORGIVEN_AFTER.total_seconds() / 60:.0f} minutes",
            )
        right = self.token
        if right is None or len(given) > _LONGEST or not hmac.compare_digest(_digest(given), _digest(right.value)):
            self.failures.add(client)
            raise DeniedError(HTTPStatus.UNAUTHORIZED, "this is not the token", "it is what http: token_file: holds")

    @staticmethod
    def _from_here(request: Request, *, needed: bool) -> None:
        """Check that a page of this host asks. Whoever sends no origin is no browser; `needed`: a browser asks."""
        origin = request.headers.get("origin")
        if origin is None:
            if not needed or request.headers.get("sec-fetch-site") == "same-origin":
                return
        elif urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower():
            return
        raise DeniedError(
            HTTPStatus.FORBIDDEN, "this request comes from another page", "open the page itself, and ask again there"
        )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _name_of(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
