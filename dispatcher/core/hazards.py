"""Hazards that one rule or the whole configuration carries: loops, HLS folders, unreadable input. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.core.location import parse_oss_host
from dispatcher.core.matching import file_name_extension
from dispatcher.core.problems import Problem, ProblemCode, Severity, bounded
from dispatcher.core.rules import MatchMode, WorkflowAction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dispatcher.core.rules import Rule, RuleSet
    from dispatcher.core.settings import BucketSettings

_NAMED = 3
_LISTED = 20


def hazard_problems(rules: RuleSet, buckets: Mapping[str, BucketSettings]) -> Iterator[Problem]:
    """Yield every hazard; of each kind a bounded number."""
    yield from _no_guard(rules)
    yield from bounded(_own_input_covered(rules))
    yield from _segments(rules)
    yield from bounded(_file_names(rules))
    yield from bounded(_not_readable(rules, buckets))


def _no_guard(rules: RuleSet) -> Iterator[Problem]:
    if rules.never_trigger or not rules.rules:
        return
    yield Problem(
        ProblemCode.LOOP,
        Severity.WARNING,
        tuple(rule.id for rule in rules.rules[:_LISTED]),
        None,
        "no location is declared where outputs land, and nothing tells who wrote an object:"
        " outputs under an input would start again",
        "Write where the workflows put their outputs, for example never_trigger: [transcoded/]",
    )


def _own_input_covered(rules: RuleSet) -> Iterator[Problem]:
    for rule in rules.rules:
        bucket = rule.input.bucket
        if not all(rules.never_triggers(bucket, shape.prefix) for shape in rule.shapes):
            continue
        covering = next(place for place in rules.never_trigger if place.covers(bucket, rule.shapes[-1].prefix))
        yield Problem(
            ProblemCode.LOOP,
            Severity.ERROR,
            (rule.id,),
            None,
            f"never_trigger {covering} covers the input of rule {rule.name!r}, so that it can never start",
            "Let the workflow put its outputs in a folder of their own, outside the input, and name that one.",
        )


def _segments(rules: RuleSet) -> Iterator[Problem]:
    both = [rule for rule in rules.rules if _takes(rules, rule, "m3u8") and _takes(rules, rule, "ts")]
    if not both:
        return
    names = ", ".join(repr(rule.name) for rule in both[:_NAMED])
    more = f" and {len(both) - _NAMED} more" if len(both) > _NAMED else ""
    yield Problem(
        ProblemCode.SEGMENTS,
        Severity.WARNING,
        tuple(rule.id for rule in both[:_LISTED]),
        (both[0].input.bucket, _takes(rules, both[0], "ts") or ""),
        f"rules taking both m3u8 and ts: {names}{more}; an HLS folder would be a start for each of its segments",
        'Write extensions: with the ones you upload, or exclude: ["*.ts"]',
    )


def _takes(rules: RuleSet, rule: Rule, extension: str) -> str | None:
    """Return a key with this extension that the rule takes, None if a plain one does not pass."""
    if not rule.extensions.admits_extension(extension):
        return None
    prefix = rule.input.prefix
    tails = ("clip", "1", "segments/0") if not prefix or prefix.endswith("/") else ("/clip", "", "1", "/segments/0")
    for tail in tails:
        key = f"{prefix}{tail}.{extension}"
        if rules.verdict(rule.id, rule.input.bucket, key, None).matched:
            return key
    return None


def _file_names(rules: RuleSet) -> Iterator[Problem]:
    for rule in rules.rules:
        path = rule.input.prefix
        extension = file_name_extension(path)
        if rule.match_written or rule.match is not MatchMode.DOCUMENTED or extension is None:
            continue
        sibling = f"{path[: -len(extension) - 1]}1.{extension}"
        yield Problem(
            ProblemCode.FILE_NAME,
            Severity.WARNING,
            (rule.id,),
            (rule.input.bucket, sibling),
            f"the input of rule {rule.name!r} ends in a file name; as the service documents it,"
            f" {sibling!r} would start it too",
            "Write match: documented if that is meant, match: prefix for this name alone, or a folder as the input.",
        )


def _not_readable(rules: RuleSet, buckets: Mapping[str, BucketSettings]) -> Iterator[Problem]:
    custom = {host for bucket in buckets.values() if bucket.on_oss for host in bucket.hosts}
    for rule in rules.rules:
        bucket = buckets.get(rule.input.bucket)
        if bucket is None or bucket.on_oss:
            continue
        if isinstance(rule.action, WorkflowAction) and _leads_to_oss(rule.action.media_url, custom):
            continue
        yield Problem(
            ProblemCode.NOT_READABLE_BY_IMS,
            Severity.ERROR,
            (rule.id,),
            None,
            f"IMS reads OSS only, and bucket {bucket.name} of rule {rule.name!r} lies on {bucket.endpoint}",
            'Mirror the objects to OSS and name them: workflow: {id: …, media_url: "oss://MIRROR/{key}"}',
        )


def _leads_to_oss(media_url: str, custom_hosts: set[str]) -> bool:
    """Tell whether a media URL of a rule on another store names an OSS bucket of its own."""
    scheme, mark, rest = media_url.partition("://")
    host = rest.partition("/")[0]
    if not mark or not host or "{bucket}" in host:
        return False
    if scheme == "oss":
        return True
    return scheme in ("http", "https") and (parse_oss_host(host) is not None or host.lower() in custom_hosts)
