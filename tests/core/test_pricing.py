"""Prices: exact, and never a sum that only looks complete."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.calls import Api
from dispatcher.core.pricing import Prices, add_costs, money_text

PRICES = Prices(
    "CNY",
    start=Decimal("0.1"),
    rules={"r": Decimal("0.3")},
    workflows={"wf": Decimal("0.2")},
    calls={Api.START_WORKFLOW: Decimal("0.0001")},
    listing=Decimal("0.01"),
)


@pytest.mark.parametrize(("rule", "workflow", "price"), [("r", "wf", "0.3"), ("s", "wf", "0.2"), ("s", None, "0.1")])
def test_a_rules_price_goes_before_its_workflows(rule: str, workflow: str | None, price: str) -> None:
    assert PRICES.of_start(rule, workflow) == Decimal(price)


def test_thirty_million_starts_are_exact() -> None:
    assert PRICES.of_starts("s", None, 30_000_001) == Decimal("3000000.1")
    assert PRICES.of_calls({Api.START_WORKFLOW: 3, Api.REGISTER_MEDIA_INFO: 5}) == Decimal("0.0003")
    assert PRICES.of_listing(1) == Decimal("0.000001")


def test_what_has_no_price_has_no_cost_unless_there_is_none_of_it() -> None:
    free = Prices("CNY")
    assert free.of_starts("r", "wf", 1) is None
    assert free.of_starts("r", "wf", 0) == 0
    assert free.of_listing(5) is None
    assert add_costs(Decimal(1), None) is None


@given(st.decimals(0, 10**9, places=6))
def test_money_is_written_exactly_and_read_back(amount: Decimal) -> None:
    text = money_text(amount)
    assert Decimal(text) == amount
    assert "e" not in text.lower()
    assert len(text.partition(".")[2]) >= 2
