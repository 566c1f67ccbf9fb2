"""The official SDK, held at arm's length: clients, credentials, and where its requests may go.

The one place that imports and builds it, on first use (it takes 0.8 s and 60 MB). It also takes
away two of its habits: a handler on stderr with every header where `DEBUG=sdk` is set, and proxies
from the environment without NO_PROXY.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never
from urllib.parse import urlsplit

from dispatcher.core.observations import unmetered
from dispatcher.core.settings import Credentials, Secret
from dispatcher.errors import ConfigError, CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.observations import Meter

CONNECT_LIMIT_MS = 5_000
_POOL_SIZE = 40
# Each adds a StreamHandler to stderr at import; the first two log at DEBUG what they send.
_CHATTY_LOGGERS = ("darabonba-core", "alibabacloud-tea", "credentials")


class Product(StrEnum):
    """A service; the value is the first word of its host names. RAM is called by the SDK that is common to all."""

    ICE = "ice"
    IMM = "imm"
    RAM = "ram"


def split_timeout(call_timeout: timedelta) -> tuple[int, int]:
    """Return (connect, read) time-outs in milliseconds that together are the call's.

    Connecting gets a third, at most 5 s. Reading is bounded between two bytes, so a server that
    trickles can exceed it; the sender's lease settles that case.
    """
    whole = max(2, int(call_timeout.total_seconds() * 1000))
    connect = min(CONNECT_LIMIT_MS, max(1, whole // 3))
    return connect, whole - connect


class AlibabaClients:
    """SDK clients, one for each service and endpoint, built on first use. Thread-safe.

    `credentials` without an access key means the provider's default chain (environment, OIDC,
    CLI profile, file, instance role), which refreshes itself. `close` ends idle connections;
    clients stay usable. `meter` is told of each read that is made through them.
    """

    def __init__(self, credentials: Credentials, *, call_timeout: timedelta, meter: Meter = unmetered) -> None:
        self.meter = meter
        self._credentials = credentials
        self._call_timeout = call_timeout
        self._lock = threading.Lock()
        self._clients: dict[tuple[Product, Endpoint], Any] = {}
        self._sessions: list[Any] = []
        self._provider: Any = None

    def client(self, endpoint: Endpoint, product: Product = Product.ICE) -> Any:  # noqa: ANN401 - the SDK ships no types
        """Return the client of a service at this endpoint. Raises ConfigError for a URL that is none, or
        where the service's SDK is not installed; nothing is sent.
        """
        with self._lock:
            client = self._clients.get((product, endpoint))
            if client is None:
                client = self._clients[product, endpoint] = self._build(product, endpoint)
            return client

    def close(self) -> None:
        """Close the idle connections of all clients. Idempotent."""
        with self._lock:
            for session in self._sessions:
                session.close()

    def _build(self, product: Product, endpoint: Endpoint) -> Any:  # noqa: ANN401 - the SDK ships no types
        url = urlsplit(endpoint.url)
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/"):
            raise ConfigError(
                f"the endpoint {endpoint.url!r} is not a URL of a host",
                hint=f"write it as https://{product}.{endpoint.region}.aliyuncs.com",
            )
        made_by = _client_class(product)
        from alibabacloud_tea_openapi.utils_models import Config  # noqa: PLC0415 - heavy: only where calls are made

        if self._provider is None:
            self._provider = _provider_of(self._credentials)
        _silence()
        self._sessions.append(_own_session(url.scheme, url.netloc))
        connect, read = split_timeout(self._call_timeout)
        # No retry_options: the dispatcher's ledger is the only authority that repeats a call.
        return made_by(
            Config(
                credential=self._provider,
                protocol=url.scheme,
                endpoint=url.netloc,
                region_id=endpoint.region,
                connect_timeout=connect,
                read_timeout=read,
                max_idle_conns=_POOL_SIZE,
            )
        )


def _client_class(product: Product) -> Any:  # noqa: ANN401 - the SDK ships no types
    match product:
        case Product.ICE:
            from alibabacloud_ice20201109.client import Client  # noqa: PLC0415 - heavy: only where calls are made
        case Product.IMM:
            try:
                from alibabacloud_imm20200930.client import Client  # noqa: PLC0415 - as above, and not always installed
            except ModuleNotFoundError:
                raise ConfigError(
                    "the SDK of IMM is not installed", hint="install it with: pip install 'oss-dispatcher[imm]'"
                ) from None
        case Product.RAM:
            from alibabacloud_tea_openapi.client import Client  # noqa: PLC0415 - heavy: only where calls are made
        case _:
            assert_never(product)
    return Client


def keys_of_alibaba(credentials: Credentials) -> Callable[[], Credentials]:
    """Return a provider of the account's keys, for buckets on OSS: fixed ones, or the default chain, renewed.

    Raises CredentialsError when called and the chain finds nothing.
    """
    if credentials.access_key_id is not None:
        return lambda: credentials
    chain: list[Any] = []

    def provide() -> Credentials:
        try:
            if not chain:
                chain.append(_provider_of(credentials))
            found = chain[0].get_credential()
        except Exception as error:  # noqa: BLE001 - the SDK raises whatever a provider met; its text may hold what it read
            raise CredentialsError(
                f"no credentials for OSS: Alibaba's default chain found none ({type(error).__name__})",
                hint="set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or `credentials:`",
            ) from None
        token = found.security_token
        return Credentials(found.access_key_id, Secret(found.access_key_secret), Secret(token) if token else None)

    return provide


def _provider_of(known: Credentials) -> Any:  # noqa: ANN401 - the SDK ships no types
    from alibabacloud_credentials.client import Client  # noqa: PLC0415 - heavy: only where calls are made
    from alibabacloud_credentials.models import Config  # noqa: PLC0415 - as above

    _silence()
    if known.access_key_id is None:
        return Client()
    token = known.security_token
    return Client(
        Config(
            type="access_key" if token is None else "sts",
            access_key_id=known.access_key_id,
            access_key_secret=known.access_key_secret.value if known.access_key_secret else "",
            security_token=token.value if token else None,
        )
    )


def _silence() -> None:
    """Take the SDK's own handlers away, so that no header of a request can reach a log."""
    for name in _CHATTY_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)


def _own_session(scheme: str, host: str) -> Any:  # noqa: ANN401 - a class made after the lazy import
    """Return the session that the SDK will use for this host, ours.

    The SDK keeps its sessions in a table by (protocol, host, port, pool size) and makes a missing
    one without a lock; ours stands there first. It honours NO_PROXY, never sends a loopback call
    through a proxy, and follows no redirect: a redirected POST would be a second call.
    """
    import requests  # noqa: PLC0415 - comes with the SDK, as late
    from darabonba.core import DaraCore  # noqa: PLC0415 - as above

    class Session(requests.Session):
        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 - requests' own signature
            url = request.url or ""
            options["proxies"] = {} if _is_loopback(url) else requests.utils.get_environ_proxies(url)
            options["allow_redirects"] = False
            return super().send(request, **options)

    key = f"{scheme}://{host}:80:pool={_POOL_SIZE}"
    with _TABLE_LOCK:
        known = DaraCore._sessions.get(key)  # noqa: SLF001 - the SDK has no other way to choose its transport
        if known is not None:
            return known
        session = Session()
        adapter = DaraCore.get_adapter(scheme, None, pool_size=_POOL_SIZE)
        session.mount(f"{scheme}://", adapter)
        DaraCore._sessions[key] = session  # noqa: SLF001 - as above
        return session


_TABLE_LOCK = threading.Lock()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
