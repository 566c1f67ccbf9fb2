"""What starts, calls and listings cost, by the prices that the operator wrote. Exact decimal arithmetic; pure.

The program knows no price of its own: they differ by contract, region and what a workflow does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.core.calls import Api

LIST_UNIT = 10_000
"""LIST requests that have one price, as stores bill them."""
_LEAST_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in one currency. None: not written, so what it would be for has no price.

    `start` is of one start; that of its rule (by id) goes before that of its workflow, both before this one.
    `calls` are of one call of an API, `listing` of 10,000 LIST requests.
    """

    currency: str
    start: Decimal | None = None
    rules: Mapping[str, Decimal] = field(default_factory=dict)
    workflows: Mapping[str, Decimal] = field(default_factory=dict)
    calls: Mapping[Api, Decimal] = field(default_factory=dict)
    listing: Decimal | None = None

    def of_start(self, rule_id: str, workflow_id: str | None) -> Decimal | None:
        """Return what one start of a rule costs; None if nobody wrote it."""
        if rule_id in self.rules:
            return self.rules[rule_id]
        if workflow_id is not None and workflow_id in self.workflows:
            return self.workflows[workflow_id]
        return self.start

    def of_starts(self, rule_id: str, workflow_id: str | None, starts: int) -> Decimal | None:
        """Return what so many starts of a rule cost; no start costs nothing, whatever its price."""
        price = self.of_start(rule_id, workflow_id)
        if starts == 0:
            return Decimal(0)
        return None if price is None else price * starts

    def of_calls(self, calls: Mapping[Api, int]) -> Decimal:
        """Return what the calls themselves cost; APIs without a price cost nothing."""
        return sum((self.calls[api] * count for api, count in calls.items() if api in self.calls), Decimal(0))

    def of_listing(self, requests: int) -> Decimal | None:
        """Return what so many LIST requests cost: their share of the price of 10,000."""
        return None if self.listing is None else self.listing * requests / LIST_UNIT


def add_costs(*parts: Decimal | None) -> Decimal | None:
    """Return the sum; None as soon as one part is not known: a sum without it would only look right."""
    total = Decimal(0)
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def money_text(amount: Decimal) -> str:
    """Return an amount without an exponent and without needless zeros, with two decimals at least."""
    text = format(amount, "f")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(_LEAST_DIGITS, '0')}"
