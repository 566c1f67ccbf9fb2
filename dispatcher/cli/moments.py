"""Times of a bucket's objects on the command line: `24h`, `2026-01-31`, RFC 3339; local where no zone is written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from dispatcher.core.quantities import parse_duration
from dispatcher.core.scope import Moment
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


def parse_moment(text: str, option: str, now: datetime) -> Moment:
    """Return the moment that a text means: so long ago, a date's local midnight, or a time.

    A time without a zone is local. Raises UsageError naming the option.
    """
    try:
        return Moment(text, (now - parse_duration(text)).astimezone())
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
        return Moment(text, at if at.tzinfo is not None else at.astimezone())
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text}: not a time",
            hint="write a duration (24h, 7d), a date (2026-01-31), or 2026-01-31T08:00:00+08:00",
        ) from None


def parse_span(text: str, option: str) -> timedelta:
    """Return a duration. Raises UsageError naming the option."""
    return parsed(parse_duration, text, option)


def parsed(parse: Callable[[str], Value], text: str, option: str) -> Value:
    """Return what a parser makes of a text. Raises UsageError, with what the parser would rather have."""
    try:
        return parse(text)
    except ValueError as error:
        what, _, instead = str(error).partition("; ")
        raise UsageError(f"{option}: {what}", hint=instead or "see --help") from None
