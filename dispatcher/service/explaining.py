"""Explaining: what each rule says of an object, in words, and the call that would be made.

The same pure rules as the daemon's; nothing is loaded, asked or written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import RegisterCall
from dispatcher.core.dispatch import ID_LENGTH, content_identity, dispatch_id
from dispatcher.core.extensions import extension_of
from dispatcher.core.rendering import render_call
from dispatcher.core.rules import Reason

if TYPE_CHECKING:
    from dispatcher.core.calls import Call
    from dispatcher.core.rules import Rule, Verdict
    from dispatcher.core.settings import Settings
    from dispatcher.core.unsendable import Unsendable

UNKNOWN_ID = "x" * ID_LENGTH
"""Stands for the dispatch id where the object's content, of which it is made, is not known."""
UNKNOWN_MEDIA = "(the media id)"
"""Stands for what RegisterMediaInfo will answer."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one object as the store tells it."""

    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """One rule's verdict in words, and for a match the call that would be made.

    `call` is None where the rule does not match. `dispatch_id` is None while the content is unknown;
    the call's UserData then carries `UNKNOWN_ID`, which has the same length. `then` is the call that
    follows once the object is registered as a media asset; it names `UNKNOWN_MEDIA`.
    """

    verdict: Verdict
    sentence: str
    call: Call | Unsendable | None
    dispatch_id: str | None = None
    then: Call | Unsendable | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What all rules say of one object. `url` is what the operator wrote."""

    url: str
    bucket: str
    key: str
    judgements: tuple[Judgement, ...]

    @property
    def matches(self) -> tuple[Judgement, ...]:
        return tuple(each for each in self.judgements if each.verdict.matched)


def explain(settings: Settings, url: str, bucket: str, key: str, content: Content | None = None) -> Explanation:
    """Return each rule's verdict on the object. Without `content`, EMPTY is not judged."""
    size = content.size if content is not None else None
    judged = tuple(
        _judge(settings, verdict, bucket, key, content) for verdict in settings.rules.verdicts(bucket, key, size)
    )
    return Explanation(url, bucket, key, judged)


def _judge(settings: Settings, verdict: Verdict, bucket: str, key: str, content: Content | None) -> Judgement:
    said = sentence(verdict, bucket, key)
    if not verdict.matched:
        return Judgement(verdict, said, None)
    rule = verdict.rule
    known = None
    if content is not None:
        known = dispatch_id(rule.id, bucket, key, content_identity(content.etag, content.size))
    render = partial(
        render_call,
        rule,
        settings.buckets[bucket].ims,
        bucket=bucket,
        key=key,
        etag=content.etag if content is not None else "",
        size=content.size if content is not None else 0,
        dispatch_id=known or UNKNOWN_ID,
        attempt=1,
    )
    call = render()
    then = render(input_media_id=UNKNOWN_MEDIA) if isinstance(call, RegisterCall) else None
    return Judgement(verdict, said, call, known, then)


def sentence(verdict: Verdict, bucket: str, key: str) -> str:
    """Return why the rule said so, as a sentence with the facts of this object."""
    rule = verdict.rule
    match verdict.reason:
        case Reason.MATCHED:
            said = _matched(rule, key)
        case Reason.BUCKET:
            said = f"the rule reads bucket {rule.input.bucket}, not {bucket}"
        case Reason.PREFIX:
            said = f"the key does not begin with {rule.input.prefix!r}"
        case Reason.EXTENSION:
            said = _extension(rule, key)
        case Reason.FOLDER_MARKER:
            said = "a key that ends in / marks a folder and is no file"
        case Reason.EMPTY:
            said = f"the object has fewer than {rule.min_size} bytes (min_size)"
        case Reason.NEVER_TRIGGER:
            said = "the key lies under never_trigger, where workflows write their results"
        case Reason.EXCLUDED:
            said = f"excluded by the rule's own patterns: {', '.join(rule.exclude)}"
        case Reason.EVENT_TYPE:
            said = "this kind of event does not mean that a complete object exists"
        case _:
            assert_never(verdict.reason)
    return f"{said}; {verdict.note}" if verdict.note else said


def _matched(rule: Rule, key: str) -> str:
    prefix = rule.input.prefix
    if not prefix:
        return "the rule takes the whole bucket"
    if key.startswith(prefix):
        return f"the key begins with {prefix!r}"
    # Only the documented reading of a file name matches without being a prefix.
    return f"a .{extension_of(key)} file in the same folder whose name begins as that of {prefix!r} (match: documented)"


def _extension(rule: Rule, key: str) -> str:
    extension = extension_of(key)
    taken = ", ".join(rule.extensions.words)
    if extension is None:
        return f"the name has no extension, and the rule takes only {taken}"
    shown = f".{extension}" if extension else "the empty extension"
    return f"{shown} is not among the rule's extensions ({taken})"
