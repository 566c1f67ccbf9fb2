"""From documents to HTML: templates that escape everything, and text of strangers made harmless first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dispatcher.core.printable import printable
from dispatcher.web.page.answering import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dispatcher.core.documents import Json, Record

HERE = Path(__file__).parent
CHART_HEIGHT = 96
CHART_SLOT = 14
NOTHING = "\u2013"
"""Stands where there is no value."""
_KINDS = ("skipped", "dead", "failed", "started")
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Bar:
    """One piece of a bar of the chart, in its coordinates."""

    kind: str
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A day in bars. `most` is what the highest one stands for."""

    width: int
    height: int
    most: int
    total: int
    bars: tuple[Bar, ...]


class Pages:
    """Renders templates. Thread-safe."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_harmless,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"when": brief, "ago": self.ago, "count": counted, "span": span, "size": size}
        self._environment.globals |= {"link": link, "chart_of": chart_of}

    def html(self, template: str, values: Mapping[str, object]) -> str:
        """Return a page."""
        return self._environment.get_template(template).render(values)

    def ago(self, at: str | None) -> str:
        """Return how long ago a time of a document is, in one unit."""
        return "" if at is None else span((self._clock() - datetime.fromisoformat(at)).total_seconds())


def _harmless(value: object) -> object:
    """Return a value as it may stand in a page: what is no markup of ours is made printable."""
    if value is None:
        return NOTHING
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def brief(at: str | None) -> str:
    """Return a time of a document as people read it: UTC to the second."""
    return NOTHING if at is None else datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def counted(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def span(seconds: float | None) -> str:
    """Return a time span in its largest unit."""
    if seconds is None:
        return NOTHING
    whole = max(0, round(seconds))
    for unit, name in _STEPS:
        if whole >= unit:
            return f"{whole // unit} {name}"
    return "0 s"


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    amount, unit = float(count), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:  # noqa: PLR2004 - a step of the units
            break
        amount, unit = amount / 1024, bigger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def link(path: str, pairs: Sequence[tuple[str, str]] = (), **more: str | int | None) -> str:
    """Return a path with parameters; None is left out."""
    query = encoded(
        [*pairs, *((name.replace("_", "-"), str(value)) for name, value in more.items() if value is not None)]
    )
    return f"{path}?{query}" if query else path


def chart_of(slots: Sequence[Record]) -> Chart:
    """Return the chart of a day."""
    totals = [sum(_number(slot[kind]) for kind in _KINDS) for slot in slots]
    most = max(totals, default=0)
    bars: list[Bar] = []
    for place, slot in enumerate(slots):
        y = float(CHART_HEIGHT)
        for kind in reversed(_KINDS):
            number = _number(slot[kind])
            if number:
                # A single failure among millions must still be seen.
                height = max(2.0, round(number / most * (CHART_HEIGHT - 2), 1))
                y = max(0.0, y - height)
                bars.append(Bar(kind, place * CHART_SLOT, round(y, 1), height))
    return Chart(len(slots) * CHART_SLOT, CHART_HEIGHT, most, sum(totals), tuple(bars))


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0
