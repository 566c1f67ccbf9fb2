"""The configuration after reading: frozen, complete, no defaults left to decide."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dispatcher.core.calls import Api, Endpoint
    from dispatcher.core.location import Names
    from dispatcher.core.ratelimit import Rate
    from dispatcher.core.rules import RuleSet


class OverlapPolicy(StrEnum):
    """What two rules that start for one object mean to `check`, start and reload."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"


class Addressing(StrEnum):
    """Where the bucket's name stands in a request: in the host, or first in the path."""

    VIRTUAL = "virtual"
    PATH = "path"


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


@dataclass(frozen=True, slots=True)
class PollSettings:
    """How often buckets are listed. `every` None is `auto`: within `requests_per_month`."""

    every: timedelta | None = None
    requests_per_month: int = 1_000_000


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

    `names` is what a location on the command line may refer to.
    """

    path: Path
    names: Names
    buckets: Mapping[str, BucketSettings]
    rules: RuleSet
    credentials: Credentials
    poll: PollSettings
    overlap: OverlapPolicy
    rates: Mapping[Api, Rate]
    concurrent_calls: int
    not_started_codes: frozenset[str]
    call_timeout: timedelta
    drain_timeout: timedelta
    uncertain: UncertainSettings
    ledger: LedgerSettings
