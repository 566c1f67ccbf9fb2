"""Hazards that one rule or the whole configuration carries: loops, HLS folders, unreadable input. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import Api
from dispatcher.core.editing import urls_of
from dispatcher.core.location import parse_oss_host
from dispatcher.core.matching import file_name_extension
from dispatcher.core.media_urls import authority_of_url
from dispatcher.core.problems import Problem, ProblemCode, Severity, bounded
from dispatcher.core.rules import EditingAction, MatchMode, WorkflowAction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dispatcher.core.ratelimit import Rate
    from dispatcher.core.rules import Rule, RuleSet
    from dispatcher.core.settings import BucketSettings

SUBMIT_QUOTA = 30
"""Calls of SubmitMediaProducingJob in a second that the service takes of an account."""
_NAMED = 3
_LISTED = 20


def hazard_problems(rules: RuleSet, buckets: Mapping[str, BucketSettings]) -> Iterator[Problem]:
    """Yield every hazard; of each kind a bounded number."""
    yield from _no_guard(rules)
    yield from bounded(_own_input_covered(rules))
    yield from _segments(rules)
    yield from bounded(_file_names(rules))
    yield from bounded(_not_readable(rules, buckets))


def rate_problems(rates: Mapping[Api, Rate]) -> Iterator[Problem]:
    """Yield a warning where a configured rate is all that the service takes of the whole account."""
    rate = rates.get(Api.SUBMIT_MEDIA_PRODUCING_JOB)
    if rate is None or rate.per_second < SUBMIT_QUOTA:
        return
    yield Problem(
        ProblemCode.RATE,
        Severity.WARNING,
        (),
        None,
        f"limits: {Api.SUBMIT_MEDIA_PRODUCING_JOB} is {rate.per_second:g}/s, and the service takes {SUBMIT_QUOTA}/s"
        " of the whole account, whoever calls",
        "Write less, such as 25/s, so that what others submit is not throttled with ours.",
    )


def _no_guard(rules: RuleSet) -> Iterator[Problem]:
    # Where an editing job writes is known (`destinations`); a workflow keeps it to itself.
    workflows = [rule for rule in rules.rules if isinstance(rule.action, WorkflowAction)]
    if rules.never_trigger or not workflows:
        return
    yield Problem(
        ProblemCode.LOOP,
        Severity.WARNING,
        tuple(rule.id for rule in workflows[:_LISTED]),
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
        match rule.action:
            case WorkflowAction(media_url=media_url):
                readable = _leads_to_oss(media_url, custom)
                mended = 'workflow: {id: …, media_url: "oss://MIRROR/{key}"}'
            case EditingAction() as action:
                readable = not _names_bucket(action, bucket)
                mended = 'editing: {…, clips_param: {Video: "oss://MIRROR/{key}"}}'
            case _:
                assert_never(rule.action)
        if readable:
            continue
        yield Problem(
            ProblemCode.NOT_READABLE_BY_IMS,
            Severity.ERROR,
            (rule.id,),
            None,
            f"IMS reads OSS only, and bucket {bucket.name} of rule {rule.name!r} lies on {bucket.endpoint}",
            f"Mirror the objects to OSS and name them: {mended}",
        )


def _names_bucket(action: EditingAction, bucket: BucketSettings) -> bool:
    """Tell whether a job would read or write in a rule's bucket on another store.

    A bucket that is written out is one on OSS, whatever its name; that of the placeholders is not.
    """
    doors = {*bucket.hosts, bucket.endpoint.partition("://")[2]}
    texts = [str(text) for _, text in urls_of(action)]
    authorities = [authority_of_url(text) or "" for text in texts]
    return any(text.startswith("{url}") for text in texts) or any(
        "{bucket}" in authority or authority in doors for authority in authorities
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
