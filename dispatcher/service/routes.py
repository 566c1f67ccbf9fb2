"""Which calls share a quota: the rules of the configuration by (account, region, API)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.calls import Api

if TYPE_CHECKING:
    from dispatcher.core.calls import Endpoint
    from dispatcher.core.ratelimit import Rate
    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings

ACCOUNT = "default"
"""The one account of this version: that of `credentials:`."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the calls of some rules go, and the quota they share.

    `target` is the key of the ledger's rate and health rows.
    """

    target: str
    endpoint: Endpoint
    rate: Rate
    rules: tuple[str, ...]


def target_key(region: str, api: Api) -> str:
    """Return the ledger's name for one (account, region, API)."""
    return f"{ACCOUNT}/{region}/{api.value}"


def target_of(settings: Settings, rule: Rule) -> str:
    """Return the target that a rule's calls go to."""
    return target_key(settings.buckets[rule.input.bucket].ims.region, Api.START_WORKFLOW)


def routes(settings: Settings) -> tuple[Route, ...]:
    """Return one route for each endpoint that rules call."""
    by_endpoint: dict[Endpoint, list[str]] = {}
    for rule in settings.rules.rules:
        by_endpoint.setdefault(settings.buckets[rule.input.bucket].ims, []).append(rule.id)
    rate = settings.rates[Api.START_WORKFLOW]
    return tuple(
        Route(target_key(endpoint.region, Api.START_WORKFLOW), endpoint, rate, tuple(rule_ids))
        for endpoint, rule_ids in by_endpoint.items()
    )
