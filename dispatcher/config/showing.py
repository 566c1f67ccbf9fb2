"""The configuration as the program understands it, and what it needs to be allowed."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, assert_never

from ruamel.yaml import YAML

from dispatcher.config.price_models import shown_prices
from dispatcher.config.showing_imm import imm_statements, shown_imm
from dispatcher.config.showing_sources import MASK, Json, shown_credentials, shown_source
from dispatcher.core.needs import apis_needed
from dispatcher.core.parameters import masked
from dispatcher.core.quantities import format_duration, format_monthly, format_rate
from dispatcher.core.rules import EditingAction, WorkflowAction
from dispatcher.core.settings import SmqSettings

if TYPE_CHECKING:
    from dispatcher.core.rules import Action, Existing, Rule
    from dispatcher.core.settings import BucketSettings, CallbackSettings, HttpSettings, PollSettings, Settings

_QUEUE_ACTIONS = (
    "mns:ReceiveMessage",
    "mns:BatchReceiveMessage",
    "mns:DeleteMessage",
    "mns:BatchDeleteMessage",
    "mns:ChangeMessageVisibility",
)


def effective(settings: Settings) -> Json:
    """Return the whole configuration with every default written out; secrets are masked.

    It is a configuration again: without masked secrets, loading it gives the same settings.
    """
    endpoints = {bucket.ims.url for bucket in settings.buckets.values()}
    ims: Json = {"ims": {"endpoint": next(iter(endpoints))}} if len(endpoints) == 1 else {}
    limits: Json = {
        **{str(api): format_rate(rate) for api, rate in settings.rates.items()},
        "concurrent_calls": settings.concurrent_calls,
        "not_started_codes": sorted(settings.not_started_codes),
        "call_timeout": format_duration(settings.call_timeout),
        "drain_timeout": format_duration(settings.drain_timeout),
    }
    shown: Json = {
        "version": 1,
        "buckets": [_bucket(bucket) for bucket in settings.buckets.values()],
        **ims,
        **({} if settings.imm is None else {"imm": shown_imm(settings.imm)}),
        "credentials": shown_credentials(settings.credentials),
        "sources": [_poll(settings.poll), *map(shown_source, settings.sources)],
        "rules": [_rule(rule) for rule in settings.rules.rules],
        "never_trigger": [str(place) for place in settings.rules.never_trigger],
        "overlap": str(settings.overlap),
        "limits": limits,
        "uncertain": {
            "after": format_duration(settings.uncertain.after),
            "every": format_duration(settings.uncertain.every),
            "sweeps": settings.uncertain.sweeps,
        },
        "ledger": {"url": settings.ledger.url, "keep": format_duration(settings.ledger.keep)},
        "http": {"listen": str(settings.http.listen), **_public(settings.http), **_writing(settings.http)},
        **({} if settings.prices is None else {"prices": shown_prices(settings.prices)}),
        **_callbacks(settings.callbacks),
    }
    return {name: _escaped(value) for name, value in shown.items()}


def _escaped(value: object) -> object:
    """Return the value with `${` written so that loading does not take it for a variable."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {name: _escaped(inner) for name, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, list) else value


def dump_effective(settings: Settings) -> str:
    """Return `effective` as YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment] # declared None, read as a bool
    stream = StringIO()
    yaml.dump(effective(settings), stream)
    return stream.getvalue()


def policy(settings: Settings) -> Json:
    """Return the least RAM policy with which exactly this configuration works.

    Buckets on other stores are not in it: their permissions are granted there. HEAD of an object
    is authorised as oss:GetObject, ListObjectsV2 as oss:ListObjects.
    """
    statements: list[Json] = []
    for bucket in settings.rules.buckets():
        if not settings.buckets[bucket].on_oss:
            continue
        roots = settings.rules.roots(bucket)
        listing = _allow(["oss:ListObjects"], [f"acs:oss:*:*:{bucket}"])
        if "" not in roots:
            listing["Condition"] = {"StringLike": {"oss:Prefix": [f"{root}*" for root in roots]}}
        statements += (listing, _allow(["oss:GetObject"], [f"acs:oss:*:*:{bucket}/{root}*" for root in roots]))
    for source in settings.sources:
        # SQS is granted at AWS, and what is pushed to us needs no permission of ours.
        if isinstance(source, SmqSettings):
            statements.append(_allow(list(_QUEUE_ACTIONS), [f"acs:mns:*:*:/queues/{source.queue}/messages"]))
    statements.append(_allow([f"ice:{api}" for api in apis_needed(settings.rules.rules)], ["*"]))
    if settings.imm is not None:
        statements += imm_statements(settings.imm)
    return {"Version": "1", "Statement": statements}


def dump_policy(settings: Settings) -> str:
    """Return `policy` as the JSON text that the RAM console takes."""
    return json.dumps(policy(settings), indent=2, ensure_ascii=False)


def _allow(actions: list[str], resources: list[str]) -> Json:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _poll(poll: PollSettings | None) -> Json:
    if poll is None:
        return {"type": "poll", "every": "never"}
    every = "auto" if poll.every is None else format_duration(poll.every)
    return {"type": "poll", "every": every, "requests": format_monthly(poll.requests_per_month)}


def _writing(http: HttpSettings) -> Json:
    shown: Json = {} if http.token is None else {"token": MASK}
    return shown if not http.hosts else {**shown, "hosts": list(http.hosts)}


def _callbacks(callbacks: CallbackSettings | None) -> Json:
    if callbacks is None:
        return {}
    return {"callbacks": {"url": callbacks.url, **({} if callbacks.auth_key is None else {"auth_key": MASK})}}


def _public(http: HttpSettings) -> Json:
    # On loopback both may be one listener, which is not written twice.
    return {} if http.public == http.listen else {"public": {"listen": str(http.public)}}


def _bucket(bucket: BucketSettings) -> Json:
    shown: Json = {
        "name": bucket.name,
        "region": bucket.region,
        "endpoint": bucket.endpoint,
        "addressing": str(bucket.addressing),
        "api": str(bucket.api),
        "hosts": list(bucket.hosts),
    }
    return shown if bucket.credentials is None else {**shown, "credentials": shown_credentials(bucket.credentials)}


def _rule(rule: Rule) -> Json:
    return {
        "name": rule.name,
        "id": rule.id,
        "was": list(rule.was),
        "input": str(rule.input),
        # Written only where it was: `check` asks about file names otherwise.
        **({"match": str(rule.match)} if rule.match_written else {}),
        "extensions": _extensions(rule),
        "exclude": list(rule.exclude),
        "min_size": rule.min_size,
        "settle": "0s" if rule.settle is None else format_duration(rule.settle),
        "existing": _existing(rule.existing),
        "budget": "unlimited" if rule.budget is None else f"{rule.budget}/day",
        "on_uncertain": str(rule.on_uncertain),
        **_action(rule.action),
    }


def _action(action: Action) -> Json:
    match action:
        case WorkflowAction():
            workflow = {
                "id": action.workflow_id,
                "input_type": str(action.input_type),
                "media_url": action.media_url,
                "skip_input_verification": action.skip_input_verification,
                "user_data": dict(action.user_data),
            }
            return {"workflow": workflow}
        case EditingAction():
            return {"editing": {name: value for name, value in _editing(action).items() if value is not None}}
        case _:
            assert_never(action)


def _editing(action: EditingAction) -> Json:
    return {
        "template": action.template_id,
        "project": action.project_id,
        "timeline": action.timeline,
        "clips_param": action.clips_param,
        "output_media_config": masked(action.output_media_config),
        "output_media_target": str(action.output_media_target),
        "editing_produce_config": action.editing_produce_config,
        "media_metadata": action.media_metadata,
        "project_metadata": action.project_metadata,
        "source": action.source,
        "user_data": action.user_data,
    }


def _extensions(rule: Rule) -> object:
    words = rule.extensions.words
    return words[0] if words in (("media",), ("any",)) else list(words)


def _existing(existing: Existing) -> object:
    if existing.since is not None:
        return {"since": existing.since.isoformat()}
    return "dispatch" if existing.dispatch else "ignore"
