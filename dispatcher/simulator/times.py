"""How the two services write times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

_SECONDS = "%Y-%m-%dT%H:%M:%SZ"
_CHINA = timezone(timedelta(hours=8))


def format_time(at: datetime) -> str:
    """Return the time as IMS writes it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime(_SECONDS)


def parse_time(text: str) -> datetime:
    """Return the time of a parameter. Raises ValueError for anything but `yyyy-MM-ddTHH:mm:ssZ`."""
    return datetime.strptime(text, _SECONDS).replace(tzinfo=UTC)


def format_nanos(at: datetime) -> str:
    """Return the time as IMM writes it: RFC 3339 with nanoseconds, in China's zone."""
    return at.astimezone(_CHINA).strftime("%Y-%m-%dT%H:%M:%S.%f000+08:00")
