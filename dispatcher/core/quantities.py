"""How people write amounts: `5m`, `10/s`, `10000/day`, `1M/month`. Pure.

Every function raises ValueError with a text that gives an example of what to write.
"""

from __future__ import annotations

import re
from datetime import timedelta

from dispatcher.core.ratelimit import Rate

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|sec|second|m|min|minute|h|hour)", re.ASCII)
_PER_SECOND = {"s": 1, "m": 60, "h": 3600}
_COUNT = re.compile(r"(\d+(?:\.\d+)?)([kKM]?)", re.ASCII)
_MULTIPLES = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000}
_LONGEST = timedelta(days=36_500)
_LARGEST = 10**15


def parse_duration(text: str) -> timedelta:
    """Return the duration of `100ms`, `30s`, `5m`, `2h`, `7d`, `1h30m`."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration; write a number and its unit, such as 30s, 5m, 2h or 7d")
    try:
        total = sum((_UNITS[unit] * float(number) for number, unit in _DURATION_PART.findall(text)), timedelta())
    except OverflowError:
        total = _LONGEST + _UNITS["d"]
    if total > _LONGEST:
        raise ValueError(f"{text!r} is longer than 100 years; write for example 90d")
    return total


def format_duration(duration: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back, exact to the millisecond."""
    if not duration:
        return "0s"
    for unit in ("d", "h", "m", "s", "ms"):
        number, rest = divmod(duration, _UNITS[unit])
        if not rest:
            return f"{number}{unit}"
    return f"{round(duration / _UNITS['ms'])}ms"


def parse_rate(text: str) -> Rate:
    """Return the rate of `10/s`, `0.5/s`, `600/m`, `3600/h`."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no rate; write calls per time, such as 10/s or 600/m")
    per_second = float(match[1]) / _PER_SECOND[match[2][0]]
    if not 0 < per_second <= 10_000:  # noqa: PLR2004 - far beyond any quota of the service
        raise ValueError(f"{text!r} is out of range; write more than 0 and at most 10000/s, such as 10/s")
    return Rate(per_second)


def format_rate(rate: Rate) -> str:
    """Return the rate as it is written, in calls per second or, if that is no short number, slower."""
    for unit, seconds in _PER_SECOND.items():
        number = rate.per_second * seconds
        if abs(number - round(number, 3)) < 1e-9:  # noqa: PLR2004 - what is left of a division
            return f"{round(number, 3):g}/{unit}" if number < 1e5 else f"{round(number)}/{unit}"  # noqa: PLR2004 - :g ends there
    return f"{rate.per_second!r}/s"


def parse_budget(text: str) -> int:
    """Return the starts per day of `10000/day`, `10k/day`."""
    return _parse_per(text, "day", "10000/day")


def parse_monthly(text: str) -> int:
    """Return the requests per month of `1M/month`, `500k/month`."""
    return _parse_per(text, "month", "1M/month")


def format_monthly(count: int) -> str:
    """Return a monthly number as it is written."""
    for suffix in ("M", "k"):
        if count and count % _MULTIPLES[suffix] == 0:
            return f"{count // _MULTIPLES[suffix]}{suffix}/month"
    return f"{count}/month"


def _parse_per(text: str, period: str, example: str) -> int:
    number, slash, unit = text.partition("/")
    match = _COUNT.fullmatch(number.strip())
    if not slash or unit.strip() not in (period, period[0]) or match is None:
        raise ValueError(f"{text!r} is no number per {period}; write for example {example}")
    count = float(match[1]) * _MULTIPLES[match[2]]
    if count != int(count) or not 0 < count <= _LARGEST:
        raise ValueError(f"{text!r} is not a whole number above 0; write for example {example}")
    return int(count)
