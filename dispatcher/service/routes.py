"""Which calls share a quota: the rules of the configuration by (account, region, API)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import Api, Stage
from dispatcher.core.rules import EditingAction, InputType, WorkflowAction

if TYPE_CHECKING:
    from dispatcher.core.calls import Endpoint
    from dispatcher.core.ratelimit import Rate
    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings

ACCOUNT = "default"
"""The one account of this version: that of `credentials:`."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where one kind of call of some rules goes, and the quota it has there.

    `target` is the key of the ledger's rate and health rows. Rows of these rules take this route when
    `stage` is the call that they need next: what one API refuses does not hold up the calls of another.
    """

    target: str
    endpoint: Endpoint
    api: Api
    stage: Stage
    rate: Rate
    rules: tuple[str, ...]


def steps_of(rule: Rule) -> tuple[tuple[Api, Stage], ...]:
    """Return the calls that a dispatch of this rule needs, in order."""
    match rule.action:
        case WorkflowAction(input_type=InputType.MEDIA):
            return (Api.REGISTER_MEDIA_INFO, Stage.REGISTER), (Api.START_WORKFLOW, Stage.START)
        case WorkflowAction():
            return ((Api.START_WORKFLOW, Stage.ONLY),)
        case EditingAction():
            return ((Api.SUBMIT_MEDIA_PRODUCING_JOB, Stage.ONLY),)
        case _:
            assert_never(rule.action)


def target_key(region: str, api: Api) -> str:
    """Return the ledger's name for one (account, region, API)."""
    return f"{ACCOUNT}/{region}/{api.value}"


def targets_of(settings: Settings, rule: Rule) -> tuple[str, ...]:
    """Return the targets that a rule's calls go to, in the order of the calls."""
    region = settings.buckets[rule.input.bucket].ims.region
    return tuple(target_key(region, api) for api, _ in steps_of(rule))


def routes(settings: Settings) -> tuple[Route, ...]:
    """Return one route for each endpoint, API and stage that rules call for."""
    grouped: dict[tuple[Endpoint, Api, Stage], list[str]] = {}
    for rule in settings.rules.rules:
        for api, stage in steps_of(rule):
            grouped.setdefault((settings.buckets[rule.input.bucket].ims, api, stage), []).append(rule.id)
    return tuple(
        Route(target_key(endpoint.region, api), endpoint, api, stage, settings.rates[api], tuple(rule_ids))
        for (endpoint, api, stage), rule_ids in grouped.items()
    )
