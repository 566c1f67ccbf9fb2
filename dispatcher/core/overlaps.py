"""Overlaps: two rules that one object would start both. Legal, but rarely meant. Pure.

Candidates come from the table of prefixes (two rules can only meet where one prefix lies under the
other), and each is proven by a concrete key that the real matcher confirms for both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.matching import PrefixTable, Shape, file_name_extension
from dispatcher.core.problems import SHOWN, Problem, ProblemCode, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.core.extensions import ExtensionSet
    from dispatcher.core.rules import Rule, RuleSet

PAIRS_EXAMINED = 300_000
"""Pairs of rules tried at most: thousands of rules on one folder have millions of pairs."""

_NAMES = ("clip", "a", "zz9", "0", "Q-7", "_")
_FOLDERS = ("", "sub/", "x/y/")
_ANY_EXTENSIONS = ("mp4", "bin", "txt", "ts", "mov", "mp3", "jpg", "x1")


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two rules, the wider first, the shapes in which they meet, and a key that starts both."""

    wide: Rule
    narrow: Rule
    wide_shape: Shape
    narrow_shape: Shape
    key: str


@dataclass(frozen=True, slots=True)
class Unexamined:
    """The search stopped: so many pairs share prefixes that not all were tried."""

    pairs: int


def find_overlaps(rules: RuleSet) -> Iterator[Overlap | Unexamined]:
    """Yield every pair of rules that some key starts both, once, with such a key.

    The work grows with the pairs whose prefixes nest, not with all pairs; after
    `PAIRS_EXAMINED` of them it ends with `Unexamined`.
    """
    examined = 0
    for bucket in rules.buckets():
        found: set[tuple[str, str]] = set()
        for wide, narrow in _nested(rules, bucket):
            pair = (wide[0].id, narrow[0].id)
            if pair in found or pair[::-1] in found:
                continue
            examined += 1
            if examined > PAIRS_EXAMINED:
                yield Unexamined(PAIRS_EXAMINED)
                return
            key = _witness(rules, wide, narrow)
            if key is not None:
                found.add(pair)
                yield Overlap(wide[0], narrow[0], wide[1], narrow[1], key)


def overlap_problems(rules: RuleSet, severity: Severity) -> Iterator[Problem]:
    """Yield overlaps as problems, at most `SHOWN` and one that says there are more."""
    for count, found in enumerate(find_overlaps(rules)):
        if isinstance(found, Unexamined):
            yield _many(severity, f"more than {found.pairs} pairs of rules share prefixes; not all were examined")
            return
        if count == SHOWN:
            yield _many(severity, f"more than {SHOWN} pairs of rules overlap; mend these and check again")
            return
        yield _problem(found, severity)


# -- finding ----------------------------------------------------------------------------------


def _nested(rules: RuleSet, bucket: str) -> Iterator[tuple[tuple[Rule, Shape], tuple[Rule, Shape]]]:
    """Yield the pairs of different rules with a shape whose prefix lies under one of the other's."""
    entries = [(rule, shape) for rule in rules.rules if rule.input.bucket == bucket for shape in rule.shapes]
    places = {rule.id: place for place, rule in enumerate(rules.rules)}
    table = PrefixTable((shape.prefix, (rule, shape)) for rule, shape in entries)
    for narrow in entries:
        for wide in table.under(narrow[1].prefix):
            same = wide[1].prefix == narrow[1].prefix
            if wide[0].id != narrow[0].id and not (same and places[wide[0].id] > places[narrow[0].id]):
                yield wide, narrow


def _witness(rules: RuleSet, wide: tuple[Rule, Shape], narrow: tuple[Rule, Shape]) -> str | None:
    common = wide[0].extensions.common(narrow[0].extensions)
    base = narrow[1].prefix
    bucket = narrow[0].input.bucket
    # Whatever follows the base lies under the same never_trigger, so no key can help.
    if common.empty or rules.never_triggers(bucket, base):
        return None
    by_extension = any(_sorts_by_extension(rule) for rule, _ in (wide, narrow))
    for key in _candidates(base, _extensions(common, wide[1], narrow[1]), all_extensions=by_extension):
        if all(rules.verdict(rule.id, bucket, key, None).matched for rule, _ in (wide, narrow)):
            return key
    return None


def _extensions(common: ExtensionSet, wide: Shape, narrow: Shape) -> list[str | None]:
    """Return the extensions a common key may have, the most telling first."""
    fixed = wide.extension or narrow.extension
    if fixed is not None:
        return [fixed] if common.admits_extension(fixed) else []
    names = _ANY_EXTENSIONS if common.names is None else sorted(common.names)
    ordered: list[str | None] = [name for name in names if name == "mp4"]
    ordered += [name for name in names if name != "mp4"]
    return [*ordered, None] if common.without_dot else ordered


def _candidates(base: str, extensions: list[str | None], *, all_extensions: bool) -> Iterator[str]:
    """Yield keys under a prefix: the plainest first, then other names and folders, then other extensions."""
    if file_name_extension(base) is not None:
        yield base
    for extension in extensions[:1]:
        for folder in _FOLDERS:
            for name in _NAMES:
                yield from _completed(base, folder, name, extension)
    # Patterns know upper and lower case, extensions do not: *.mp4 excludes no clip.MP4.
    upper = [extension.upper() for extension in extensions if extension is not None]
    for extension in (*extensions, *upper) if all_extensions else ():
        for folder in _FOLDERS[:2]:
            yield from _completed(base, folder, _NAMES[0], extension)
    yield base


def _completed(base: str, folder: str, name: str, extension: str | None) -> Iterator[str]:
    suffix = "" if extension is None else f".{extension}"
    if not base or base.endswith("/"):
        yield f"{base}{folder}{name}{suffix}"
        return
    yield f"{base}/{folder}{name}{suffix}"
    yield f"{base}{suffix}"
    yield f"{base}{name}{suffix}"
    yield f"{base}{name}/{name}{suffix}"


def _sorts_by_extension(rule: Rule) -> bool:
    """Tell whether the rule's `exclude` may treat one extension other than another."""
    return any(pattern.rpartition("/")[2] not in ("", "*", "**") for pattern in rule.exclude)


# -- telling ----------------------------------------------------------------------------------


def _problem(found: Overlap, severity: Severity) -> Problem:
    return Problem(
        ProblemCode.OVERLAP,
        severity,
        (found.wide.id, found.narrow.id),
        (found.wide.input.bucket, found.key),
        f"rules {found.wide.name!r} and {found.narrow.name!r} would both start for {found.key!r}",
        f"{_fix(found)} Write overlap: allow if both are meant to start.",
    )


def _many(severity: Severity, message: str) -> Problem:
    return Problem(ProblemCode.OVERLAP, severity, (), None, message, "Write overlap: allow if they are meant to.")


def _fix(found: Overlap) -> str:
    wide, narrow = found.wide_shape.prefix, found.narrow_shape.prefix
    for rule, shape in ((found.wide, found.wide_shape), (found.narrow, found.narrow_shape)):
        if shape.extension is not None:
            return f"Write match: prefix in rule {rule.name!r}, so that only {rule.input.prefix!r} itself is meant."
    if wide == narrow:
        return "Give the two rules different extensions, or make them one."
    if wide and not wide.endswith("/") and not narrow.startswith(f"{wide}/"):
        return f"End the input of rule {found.wide.name!r} with a slash ({wide}/), so that it means that folder alone."
    return f'Add exclude: ["{exclude_pattern(narrow)}"] to rule {found.wide.name!r}.'


def exclude_pattern(prefix: str) -> str:
    """Return the gitwildmatch pattern of everything under a key prefix."""
    escaped = re.sub(r"([\\*?\[\]!# ])", r"\\\1", prefix)
    return f"/{escaped}{'**' if not prefix or prefix.endswith('/') else '*'}"
