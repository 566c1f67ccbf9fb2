"""What is doubtful about a configuration that can be read: found before money is spent. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHOWN = 50
"""Problems of one kind that are listed; the rest is counted in one more."""


class Severity(StrEnum):
    """Whether the program starts all the same."""

    ERROR = "error"
    WARNING = "warning"


class ProblemCode(StrEnum):
    """The kinds of problems that need nothing but the configuration."""

    OVERLAP = "overlap"
    LOOP = "loop"
    SEGMENTS = "segments"
    FILE_NAME = "file_name"
    NOT_READABLE_BY_IMS = "not_readable_by_ims"
    OUTPUT_COLLISION = "output_collision"
    RATE = "rate"
    LEDGER_ON_CONTAINER_LAYER = "ledger_on_container_layer"
    LEDGER_NOT_SHARED = "ledger_not_shared"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: `rules` are ids, `witness` is an object (bucket, key) that shows it."""

    code: str
    severity: Severity
    rules: tuple[str, ...]
    witness: tuple[str, str] | None
    message: str
    hint: str


def bounded(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield the first problems of a kind, and one that counts the others."""
    rest = iter(problems)
    yield from islice(rest, SHOWN)
    further = next(rest, None)
    if further is not None:
        count = 1 + sum(1 for _ in rest)
        yield Problem(
            further.code,
            further.severity,
            further.rules,
            further.witness,
            f"{count} more of the same kind; the first of them: {further.message}",
            further.hint,
        )
