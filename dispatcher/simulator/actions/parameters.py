"""Reading parameters: each function returns what a parameter says, or raises Refused as the service answers.

The code of every refusal here is `MissingParameter` or `InvalidParameter`, HTTP 400.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dispatcher.simulator.signature import Refused
from dispatcher.simulator.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

Parameters = dict[str, str]

USER_DATA_BYTES = 512
_DIGITS = 19


def required(parameters: Parameters, name: str) -> str:
    """Return a parameter that must be there and not be empty."""
    value = parameters.get(name)
    if not value:
        raise Refused(400, "MissingParameter", f"{name} is mandatory for this action.")
    return value


def invalid(name: str, reason: str) -> Refused:
    """Return the refusal of a parameter's value."""
    return Refused(400, "InvalidParameter", f"The parameter {name} is not valid: {reason}.")


def whole_number(parameters: Parameters, name: str, default: int, least: int, most: int) -> int:
    """Return a number from `least` to `most`."""
    text = parameters.get(name)
    if not text:
        return default
    if not is_number(text) or not least <= int(text) <= most:
        raise invalid(name, f"it is not a number from {least} to {most}")
    return int(text)


def is_number(text: str) -> bool:
    """Return whether a text is the digits of a number that anybody may mean."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def boolean(parameters: Parameters, name: str, *, default: bool = False) -> bool:
    """Return true or false, in any case of letters: the SDK writes True and False."""
    text = parameters.get(name, "").lower()
    if text not in ("", "true", "false"):
        raise invalid(name, "it must be true or false")
    return text == "true" if text else default


def time(parameters: Parameters, name: str) -> datetime | None:
    """Return a time that is written as yyyy-MM-ddTHH:mm:ssZ."""
    text = parameters.get(name)
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        raise invalid(name, "write it as 2026-01-31T08:00:00Z") from None


def one_of(parameters: Parameters, name: str, values: Collection[str]) -> str | None:
    """Return one of the documented values, None if the parameter is absent."""
    text = parameters.get(name) or None
    if text is not None and text not in values:
        raise invalid(name, f"write one of {', '.join(values)}")
    return text


def at_most_bytes(parameters: Parameters, name: str, limit: int) -> str:
    """Return a text of at most so many bytes of UTF-8."""
    text = parameters.get(name, "")
    if len(text.encode()) > limit:
        raise invalid(name, f"it may have {limit} bytes")
    return text


def json_object(parameters: Parameters, name: str) -> dict[str, object]:
    """Return the JSON object of a parameter, empty if it is absent."""
    text = parameters.get(name)
    if not text:
        return {}
    fields = _parsed(text)
    if not isinstance(fields, dict):
        raise invalid(name, "it must be a JSON object")
    return fields


def json_list(parameters: Parameters, name: str) -> list[object]:
    """Return the JSON list of a parameter, empty if it is absent."""
    text = parameters.get(name)
    if not text:
        return []
    items = _parsed(text)
    if not isinstance(items, list):
        raise invalid(name, "it must be a JSON list")
    return items


def user_data(parameters: Parameters, limit: int = USER_DATA_BYTES) -> str:
    """Return UserData: a JSON object of at most 512 bytes, or of the action's own limit."""
    text = at_most_bytes(parameters, "UserData", limit)
    json_object(parameters, "UserData")
    return text


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
