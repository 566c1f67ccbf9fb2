"""Why a call is not made although its rule matched: found when it was rendered, before it is spent. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.calls import RegisterCall
from dispatcher.core.dispatch import StateReason

if TYPE_CHECKING:
    from dispatcher.core.calls import Call
    from dispatcher.core.rules import Rule

USER_DATA_LIMIT = 512
"""Bytes of UTF-8 that the service takes as UserData (StartWorkflow, SubmitMediaProducingJob)."""
_REGISTERING_LIMIT = 1024


def user_data_limit(call: Call) -> int:
    """Return the bytes of UserData that the service takes of such a call."""
    return _REGISTERING_LIMIT if isinstance(call, RegisterCall) else USER_DATA_LIMIT


@dataclass(frozen=True, slots=True)
class UserDataTooLong:
    """The rendered UserData has this many bytes, more than `USER_DATA_LIMIT`."""

    size: int


@dataclass(frozen=True, slots=True)
class LimitBroken:
    """A documented limit that a value does not keep.

    `path` leads to the value from the rule's action: `("output_media_config", "Width")`. `message`
    says which limit, and what to write instead; what it repeats of a URL's host is printable.
    """

    path: tuple[str | int, ...]
    message: str

    @property
    def field(self) -> str:
        """The path as people write it: `output_media_config.Width`."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
        return text.removeprefix(".")


Unsendable = UserDataTooLong | LimitBroken
"""Why a rendered call cannot be sent."""


def reason_of(unsendable: Unsendable) -> StateReason:
    """Return the reason with which such a dispatch is dead."""
    match unsendable:
        case UserDataTooLong():
            return StateReason.USER_DATA
        case LimitBroken():
            return StateReason.LIMIT
        case _:
            assert_never(unsendable)


def sentence_of(unsendable: Unsendable) -> str:
    """Return which limit would be broken."""
    match unsendable:
        case UserDataTooLong(size=size):
            return f"UserData of this object is {size} bytes, the service takes {USER_DATA_LIMIT}"
        case LimitBroken():
            return f"{unsendable.field}: {unsendable.message}"
        case _:
            assert_never(unsendable)


def advice_for(unsendable: Unsendable, rule: Rule) -> str:
    """Return what an operator changes in the rule."""
    section = "workflow" if rule.workflow_id is not None else "editing"
    match unsendable:
        case UserDataTooLong():
            return f"shorten {section}.user_data of rule {rule.id}"
        case LimitBroken():
            return f"change {section}.{unsendable.field} of rule {rule.id}"
        case _:
            assert_never(unsendable)
