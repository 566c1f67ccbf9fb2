"""The keys under `prices:`, and how an amount of money is read."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from dispatcher.config import fields as kinds  # noqa: TC001 - pydantic reads the annotations
from dispatcher.config.strict import StrictModel
from dispatcher.core.calls import Api
from dispatcher.core.pricing import Prices

_MOST = Decimal(10) ** 9
_MOST_DECIMALS = 12


def read_price(value: object) -> Decimal:
    """Read `0.05`, written as a number or as text. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a price; write for example 0.05")  # noqa: TRY004 - pydantic collects ValueErrors only
    try:
        # By its text: as a binary fraction 0.1 would not be 0.1.
        price = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"{str(value)!r} is no price; write for example 0.05, the currency apart") from None
    exponent = price.as_tuple().exponent
    if not price.is_finite() or not 0 <= price <= _MOST or not isinstance(exponent, int) or exponent < -_MOST_DECIMALS:
        raise ValueError(f"{str(value)!r} is out of range: from 0 to a billion, with at most {_MOST_DECIMALS} decimals")
    return price


Price = Annotated[
    Decimal,
    PlainValidator(read_price),
    WithJsonSchema({"type": ["number", "string"], "minimum": 0, "description": "a price", "examples": [0.05]}),
]


class CallPrices(StrictModel):
    """What one call of an API costs."""

    start_workflow: Price | None = Field(alias="StartWorkflow", default=None)
    submit_media_producing_job: Price | None = Field(alias="SubmitMediaProducingJob", default=None)
    register_media_info: Price | None = Field(alias="RegisterMediaInfo", default=None)


class PricesModel(StrictModel):
    """What things cost, for `report` and for dry runs."""

    currency: Annotated[str, Field(min_length=1, max_length=10, examples=["CNY", "USD"])]
    start: Price | None = None
    rules: dict[kinds.Name, Price] = Field(default_factory=dict)
    workflows: dict[kinds.Text, Price] = Field(default_factory=dict)
    calls: CallPrices = Field(default_factory=CallPrices)
    list: Price | None = None


def prices_of(model: PricesModel | None) -> Prices | None:
    """Return what was written as values of the core."""
    if model is None:
        return None
    written = {
        Api.START_WORKFLOW: model.calls.start_workflow,
        Api.SUBMIT_MEDIA_PRODUCING_JOB: model.calls.submit_media_producing_job,
        Api.REGISTER_MEDIA_INFO: model.calls.register_media_info,
    }
    calls = {api: price for api, price in written.items() if price is not None}
    return Prices(model.currency, model.start, dict(model.rules), dict(model.workflows), calls, model.list)


def shown_prices(prices: Prices) -> dict[str, object]:
    """Return the prices as they are written."""
    shown: dict[str, object] = {"currency": prices.currency}
    if prices.start is not None:
        shown["start"] = format(prices.start, "f")
    for name, given in (("rules", prices.rules), ("workflows", prices.workflows), ("calls", prices.calls)):
        if given:
            shown[name] = {str(each): format(price, "f") for each, price in given.items()}
    if prices.listing is not None:
        shown["list"] = format(prices.listing, "f")
    return shown
