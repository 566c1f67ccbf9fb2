"""Where editing jobs write: known before anything is started, since a rule says it. Pure.

A few keys that each rule takes are rendered with its real template. Two that give one file are an
`output_collision`; an output that some rule takes is a `loop`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.dispatch import dispatch_id
from dispatcher.core.location import object_url, parse_object
from dispatcher.core.matching import file_name_extension
from dispatcher.core.problems import Problem, ProblemCode, Severity, bounded
from dispatcher.core.rules import EditingAction, OutputMediaTarget
from dispatcher.core.templates import ObjectFields, render_value
from dispatcher.errors import LocationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dispatcher.core.location import Names
    from dispatcher.core.rules import Rule, RuleSet

_EXTENSIONS = 3
"""Extensions of a rule that are tried; more would tell nothing new of a template."""
_ANY_EXTENSIONS = ("mp4", "mov", "mkv")

Destination = tuple[str, ...]
"""The file that a job writes: (bucket, key) where it is an object that this program could see, else its names."""

Written = tuple["Rule", str, Destination]
"""A rule, a key that it takes, and the file that its job for that key writes."""


def destination_problems(rules: RuleSet, names: Names) -> Iterator[Problem]:
    """Yield the collisions and loops of what editing jobs write; of each kind a bounded number."""
    written = [(rule, key, file) for rule in rules.rules for key, file in _written_by(rule, rules, names)]
    yield from bounded(_collisions(written))
    yield from bounded(_loops(written, rules))


def destination(action: EditingAction, fields: ObjectFields, names: Names) -> Destination | None:
    """Return the file that the job of one object writes, None if its configuration does not tell."""
    output = {name: render_value(value, fields) for name, value in action.output_media_config.items()}
    match action.output_media_target:
        case OutputMediaTarget.OSS_OBJECT:
            url = output.get("MediaURL")
            return _place(url, names) if isinstance(url, str) else None
        case OutputMediaTarget.VOD_MEDIA:
            parts = [output.get(name) for name in ("StorageLocation", "FileName")]
        case OutputMediaTarget.S3:
            parts = [output.get(name) for name in ("Bucket", "ObjectKey")]
        case _:
            assert_never(action.output_media_target)
    texts = tuple(part for part in parts if isinstance(part, str))
    return texts if len(texts) == len(parts) else None


def _place(url: str, names: Names) -> Destination | None:
    try:
        return parse_object(url, names)
    except LocationError:
        return (url,)


# -- collisions -----------------------------------------------------------------------------------


def _collisions(written: Iterable[Written]) -> Iterator[Problem]:
    seen: dict[Destination, tuple[Rule, str]] = {}
    told: set[tuple[str, str]] = set()
    for rule, key, file in written:
        first = seen.setdefault(file, (rule, key))
        pair = (first[0].id, rule.id)
        if (first[0].id, first[1]) != (rule.id, key) and pair not in told:
            told.add(pair)
            yield _collision(first, (rule, key), file)


def _collision(first: tuple[Rule, str], second: tuple[Rule, str], file: Destination) -> Problem:
    (rule, key), (other, further) = first, second
    who = f"rule {rule.name!r}" if rule is other else f"rules {rule.name!r} and {other.name!r}"
    what = f"{key!r} and {further!r}" if key != further else f"{key!r} twice"
    return Problem(
        ProblemCode.OUTPUT_COLLISION,
        Severity.WARNING,
        tuple(dict.fromkeys((rule.id, other.id))),
        (rule.input.bucket, key),
        f"{who} would write one file, {_shown(file)}, for {what}: the later job replaces what the earlier one made",
        "Name in output_media_config what tells the objects apart, such as {dir}{stem}-{extension}, or {dispatch_id}.",
    )


def _shown(file: Destination) -> str:
    return object_url(*file) if len(file) == 2 else file[0]  # noqa: PLR2004 - bucket and key


# -- loops ----------------------------------------------------------------------------------------


def _loops(written: Iterable[Written], rules: RuleSet) -> Iterator[Problem]:
    told: set[tuple[str, str]] = set()
    for rule, key, file in written:
        if len(file) != 2:  # noqa: PLR2004 - bucket and key
            continue
        for started in rules.matching(file[0], file[1], None):
            if (rule.id, started.id) not in told:
                told.add((rule.id, started.id))
                yield _loop(rule, started, key, (file[0], file[1]))


def _loop(rule: Rule, started: Rule, key: str, file: tuple[str, str]) -> Problem:
    own = rule.id == started.id
    consequence = "each output would start a further job" if own else f"each output would start rule {started.name!r}"
    return Problem(
        ProblemCode.LOOP,
        Severity.ERROR if own else Severity.WARNING,
        tuple(dict.fromkeys((rule.id, started.id))),
        file,
        f"rule {rule.name!r} writes {object_url(*file)} for {key!r}, under"
        f" {'its own input' if own else 'an input'}: {consequence}",
        "Let the job write outside of every input, or name the output's folder under never_trigger:.",
    )


# -- keys that a rule takes -----------------------------------------------------------------------


def _written_by(rule: Rule, rules: RuleSet, names: Names) -> Iterator[tuple[str, Destination]]:
    """Yield keys that an editing rule takes, each with the file that its job writes."""
    if not isinstance(rule.action, EditingAction):
        return
    bucket = rule.input.bucket
    for key in dict.fromkeys(_keys(rule)):
        if not rules.verdict(rule.id, bucket, key, None).matched:
            continue
        # Contents differ, so that {etag} tells objects apart; sizes need not.
        fields = ObjectFields(bucket, key, f"etag-of-{key}", 1, rule.id, dispatch_id(rule.id, bucket, key, "c:e:1"))
        file = destination(rule.action, fields, names)
        if file is not None:
            yield key, file


def _keys(rule: Rule) -> Iterator[str]:
    """Yield keys that differ in one thing each: folder, extension, name."""
    prefix = rule.input.prefix
    suffixes = list(_suffixes(rule))
    if file_name_extension(prefix) is not None:
        extension = f".{file_name_extension(prefix)}"
        yield prefix
        yield f"{prefix[: -len(extension)]}1{extension}"
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    for place in ("", "a/", "b/"):
        yield from (f"{folder}{place}clip{suffix}" for suffix in suffixes)
    yield from (f"{folder}other{suffix}" for suffix in suffixes[:1])
    if folder != prefix:
        yield from (f"{prefix}{name}{suffix}" for name in ("", "1") for suffix in suffixes)


def _suffixes(rule: Rule) -> Iterator[str]:
    """Yield extensions of the rule with their dot, the most common first."""
    named = rule.extensions.names
    usual = [name for name in _ANY_EXTENSIONS if named is None or name in named]
    others = sorted((named or frozenset()) - set(usual))
    yield from (f".{name}" for name in islice((*usual, *others), _EXTENSIONS))
    if rule.extensions.without_dot:
        yield ""
