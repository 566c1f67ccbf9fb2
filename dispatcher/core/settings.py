"""The configuration after reading: frozen, complete, no defaults left to decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from dispatcher.core.decoding import COMPLETE_ONLY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dispatcher.core.batches import ImmSettings
    from dispatcher.core.calls import Api, Endpoint
    from dispatcher.core.decoding import Acceptance, Format
    from dispatcher.core.location import Names
    from dispatcher.core.pricing import Prices
    from dispatcher.core.ratelimit import Rate
    from dispatcher.core.rules import RuleSet

OTHER_STORE_REGION = "us-east-1"
"""The region that requests to a store without regions are signed for, by custom of S3 software."""


class OverlapPolicy(StrEnum):
    """What two rules that start for one object mean to `check`, start and reload."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"


class Addressing(StrEnum):
    """Where the bucket's name stands in a request: in the host, or first in the path."""

    VIRTUAL = "virtual"
    PATH = "path"


class StoreApi(StrEnum):
    """How requests to a bucket are signed and answered: as S3, or by OSS's own API."""

    S3 = "s3"
    OSS = "oss"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret value, read at start; never printed."""

    value: str

    def __repr__(self) -> str:
        return "Secret(***)"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where keys come from. `access_key_id` None means the provider's default chain."""

    access_key_id: str | None = None
    access_key_secret: Secret | None = None
    security_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """One bucket: where it is and how it is addressed.

    `on_oss` tells whether IMS can read it by itself (the endpoint is one of Alibaba's).
    `endpoint` is a full URL. `ims` is where the calls for its objects go.
    """

    name: str
    region: str
    endpoint: str
    addressing: Addressing
    on_oss: bool
    ims: Endpoint
    hosts: tuple[str, ...] = ()
    credentials: Credentials | None = None
    api: StoreApi = StoreApi.S3


@dataclass(frozen=True, slots=True)
class PollSettings:
    """How often buckets are listed. `every` None is `auto`: within `requests_per_month`."""

    every: timedelta | None = None
    requests_per_month: int = 1_000_000


@dataclass(frozen=True, slots=True)
class SmqSettings:
    """A queue of Alibaba's SMQ (formerly MNS). `endpoint` is a full URL.

    `format` None is detected from each body. `wait` is the longest time of one long poll,
    `visibility` how long a received message is hidden from other receivers. `buckets` are those
    that its notifications tell of, empty for all.
    """

    name: str
    endpoint: str
    queue: str
    credentials: Credentials | None = None
    format: Format | None = None
    accept: Acceptance = COMPLETE_ONLY
    wait: timedelta = timedelta(seconds=20)
    visibility: timedelta = timedelta(seconds=60)
    buckets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SqsSettings:
    """A queue of AWS SQS, or of a service with its protocol at `endpoint` (a full URL)."""

    name: str
    queue_url: str
    region: str
    endpoint: str | None = None
    credentials: Credentials | None = None
    format: Format | None = None
    accept: Acceptance = COMPLETE_ONLY
    buckets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoAuthentication:
    """Whoever reaches the listener may post: only where it is loopback."""


@dataclass(frozen=True, slots=True)
class BearerToken:
    """`Authorization: Bearer SECRET`."""

    secret: Secret


@dataclass(frozen=True, slots=True)
class Hmac:
    """A header with the hex HMAC-SHA256 of the body."""

    secret: Secret
    header: str


@dataclass(frozen=True, slots=True)
class SmqSignature:
    """The signature of an SMQ topic's push."""


@dataclass(frozen=True, slots=True)
class SnsSignature:
    """The signature of AWS SNS, from one of these topics."""

    topic_arns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventBridgeToken:
    """The token that an EventBridge HTTP target sends in `x-eventbridge-signature-token`."""

    secret: Secret


Authentication = NoAuthentication | BearerToken | Hmac | SmqSignature | SnsSignature | EventBridgeToken


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """A path of the public listener that notifications are posted to. `path` begins with a slash."""

    name: str
    path: str
    authentication: Authentication
    format: Format | None = None
    accept: Acceptance = COMPLETE_ONLY
    buckets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """A directory tree that mirrors a bucket's keys under a prefix: file `a/b` is key `PREFIXa/b`.

    `settle`: a file counts as written once it has been still as long, where closing is not seen.
    `polling` None: decided by the file system.
    """

    name: str
    path: Path
    bucket: str
    prefix: str = ""
    scan_every: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=10)
    polling: bool | None = None


SourceSettings = SmqSettings | SqsSettings | WebhookSettings | FolderSettings


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens. `host` is an IP address or a name; `port` 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The listeners: `listen` for the operator, `public` for webhooks and callbacks alone.

    Both may be one loopback address; then there is one listener. `listen_written`: somebody chose the
    operator's address, so that it must be had; else a daemon does without where it is taken. `token`: what
    an operator shows to change anything through the page; None: it only shows. `hosts` are further names
    under which a loopback listener is reached, by a proxy for example.
    """

    listen: Address = Address("127.0.0.1", 8080)
    public: Address = Address("127.0.0.1", 8080)
    listen_written: bool = field(default=False, compare=False)
    token: Secret | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """Completion callbacks of IMS at /callbacks/ims of the public listener.

    `url` is the address as it is registered at IMS: it is part of what the service signs. `auth_key` None:
    anybody who reaches the listener, which is a loopback one then, may hint at a task.
    """

    url: str
    auth_key: Secret | None = None


@dataclass(frozen=True, slots=True)
class UncertainSettings:
    """When an unanswered call is looked for, how often, and how many absences are proof."""

    after: timedelta = timedelta(seconds=60)
    every: timedelta = timedelta(seconds=60)
    sweeps: int = 5


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where the ledger is (an SQLAlchemy URL) and how long finished rows keep their detail."""

    url: str
    keep: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the program needs to know, from one file and the environment.

    `names` is what a location on the command line may refer to. `poll` None: nothing is listed.
    """

    path: Path
    names: Names
    buckets: Mapping[str, BucketSettings]
    rules: RuleSet
    credentials: Credentials
    poll: PollSettings | None
    overlap: OverlapPolicy
    rates: Mapping[Api, Rate]
    concurrent_calls: int
    not_started_codes: frozenset[str]
    call_timeout: timedelta
    drain_timeout: timedelta
    uncertain: UncertainSettings
    ledger: LedgerSettings
    sources: tuple[SourceSettings, ...] = ()
    http: HttpSettings = HttpSettings()
    callbacks: CallbackSettings | None = None
    imm: ImmSettings | None = None
    prices: Prices | None = None
