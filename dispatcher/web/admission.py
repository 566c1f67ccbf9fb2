"""What a genuine request asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class OneTime:
    """A request that is valid once: an exact copy of it has the same `mark`.

    `copies_are_redelivery`: the service itself sends exact copies when it got no answer, so a copy
    is told that it was taken; else it is refused.
    """

    mark: bytes
    expires_at: datetime
    copies_are_redelivery: bool


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand `body` to the receiver. `once` is None where requests carry no mark of their own."""

    body: bytes
    once: OneTime | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """The request was about the subscription itself and is settled; `note` says how."""

    note: str


Admission = Deliver | Nothing
