"""Objects and bytes by rule and extension: the columns that every estimate and report has, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.core.location import object_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dispatcher.cli.output import Json
    from dispatcher.core.estimates import RuleTally, Tally

TALLY_COLUMNS = ("rule", "extension", "objects", "bytes", "already dispatched", "would start")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_ALL = "all"


def tally_rows(rules: Mapping[str, RuleTally]) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a table: each rule, then its extensions where there are several."""
    for rule, tally in rules.items():
        extensions = sorted(tally.by_extension.items(), key=lambda each: (-each[1].objects, each[0]))
        if len(extensions) == 1:
            yield _row(rule, extensions[0][0], extensions[0][1])
            continue
        yield _row(rule, _ALL, tally.total)
        for extension, of_extension in extensions:
            yield _row("", extension, of_extension)


def tally_json(rules: Mapping[str, RuleTally]) -> list[dict[str, Json]]:
    """Return the same for programs, with the first keys of each rule."""
    return [
        {
            "rule": rule,
            **_figures(tally.total),
            "extensions": {extension: _figures(each) for extension, each in sorted(tally.by_extension.items())},
            "examples": [object_url(bucket, key) for bucket, key in tally.examples],
        }
        for rule, tally in rules.items()
    ]


def size_text(size: int) -> str:
    """Return a number of bytes as people read it."""
    amount, unit = float(size), 0
    while amount >= _STEP and unit + 1 < len(_UNITS):
        amount, unit = amount / _STEP, unit + 1
    return f"{size} B" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def _figures(tally: Tally) -> dict[str, Json]:
    return {"objects": tally.objects, "bytes": tally.bytes, "known": tally.known, "starts": tally.starts}


def _row(rule: str, extension: str, tally: Tally) -> tuple[object, ...]:
    return rule, extension, f"{tally.objects:,}", size_text(tally.bytes), f"{tally.known:,}", f"{tally.starts:,}"
