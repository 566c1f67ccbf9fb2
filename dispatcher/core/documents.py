"""What the documents for programs are made of: JSON values, and times as the contract writes them. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Record: TypeAlias = "Mapping[str, Json]"


def rfc3339(at: datetime | None) -> str | None:
    """Return the time as the JSON contract writes it: UTC, with `Z`; None stays None."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def brief_time(at: datetime | None) -> str:
    """Return the time as tables write it: UTC to the second, `-` for none."""
    return "-" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
