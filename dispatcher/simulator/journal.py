"""The journal: one JSON line for each call that really changed the account, written before anybody is told.

It is the truth that tests and users count by. With a path, the state of a killed simulator is
rebuilt from it; a last line that was cut off by the kill was never answered and is dropped.
A started workflow task is a `JournalEntry`, any other accepted call an `AcceptedCall`, and what
became of a completion callback a `Delivery`; on disk the latter two carry `api` and `delivery`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from dispatcher.errors import ConfigError
from dispatcher.simulator.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Origin(StrEnum):
    """Who started a task: a StartWorkflow call, or the workflow's built-in trigger."""

    CALL = "call"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One accepted start. `fault` is what the caller met all the same."""

    at: datetime
    task_id: str
    workflow_id: str
    task_input: str
    user_data: str
    request_id: str
    skip_input_verification: bool = False
    fault: Fault | None = None
    origin: Origin = Origin.CALL

    def to_json(self) -> dict[str, object]:
        """Return the entry as it stands in the journal file and in `GET /simulator/journal`."""
        return asdict(self) | {"at": self.at.isoformat()}

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Self:
        """Return the entry of a journal line's fields. Raises ValueError, KeyError or TypeError for others."""
        return cls(
            at=_time(fields),
            task_id=str(fields["task_id"]),
            workflow_id=str(fields["workflow_id"]),
            task_input=str(fields["task_input"]),
            user_data=str(fields["user_data"]),
            request_id=str(fields["request_id"]),
            skip_input_verification=bool(fields["skip_input_verification"]),
            fault=_fault(fields),
            origin=Origin(str(fields["origin"])),
        )


@dataclass(frozen=True, slots=True)
class AcceptedCall:
    """One accepted call of an API that changes something, StartWorkflow apart.

    `query` and `form` are the parameters as they travelled, decoded and otherwise untouched.
    `answer` holds the ids that the caller was told (or would have been, but for `fault`).
    `repeat`: the client token had been used with the same parameters, so nothing new was made.
    """

    at: datetime
    api: str
    request_id: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    answer: Mapping[str, str]
    repeat: bool = False
    fault: Fault | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """Query and form together."""
        return {**self.query, **self.form}

    @property
    def client_token(self) -> str:
        """The call's ClientToken, empty if it has none."""
        return self.parameters.get("ClientToken", "")

    def to_json(self) -> dict[str, object]:
        """Return the call as it stands in the journal file and in `GET /simulator/calls`."""
        return asdict(self) | {"at": self.at.isoformat(), "client_token": self.client_token}

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Self:
        """Return the call of a journal line's fields. Raises ValueError, KeyError or TypeError for others."""
        return cls(
            at=_time(fields),
            api=str(fields["api"]),
            request_id=str(fields["request_id"]),
            query=_texts(fields["query"]),
            form=_texts(fields["form"]),
            answer=_texts(fields["answer"]),
            repeat=bool(fields["repeat"]),
            fault=_fault(fields),
        )


class DeliveryOutcome(StrEnum):
    """How a completion callback ended: answered with 200, given up after three tries, or never allowed to leave."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    NOT_ALLOWED = "not-allowed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one completion callback.

    `delivery` is its event type, `subject` the task or job id, `tries` what each try met: the
    HTTP status, or the kind of failure.
    """

    at: datetime
    delivery: str
    subject: str
    url: str
    outcome: DeliveryOutcome
    tries: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the delivery as it stands in the journal file and in `GET /simulator/deliveries`."""
        return asdict(self) | {"at": self.at.isoformat()}

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Self:
        """Return the delivery of a journal line's fields. Raises ValueError, KeyError or TypeError for others."""
        tries = fields["tries"]
        if not isinstance(tries, list):
            raise TypeError("tries is not a list")
        return cls(
            at=_time(fields),
            delivery=str(fields["delivery"]),
            subject=str(fields["subject"]),
            url=str(fields["url"]),
            outcome=DeliveryOutcome(str(fields["outcome"])),
            tries=tuple(map(str, tries)),
        )


JournalLine = JournalEntry | AcceptedCall | Delivery


def parse_line(line: str) -> JournalLine:
    """Return what a line of the journal file says. Raises ValueError, KeyError or TypeError for another text."""
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise TypeError("a journal line is an object")
    if "api" in fields:
        return AcceptedCall.from_json(fields)
    if "delivery" in fields:
        return Delivery.from_json(fields)
    return JournalEntry.from_json(fields)


def _time(fields: Mapping[str, object]) -> datetime:
    return datetime.fromisoformat(str(fields["at"]))


def _fault(fields: Mapping[str, object]) -> Fault | None:
    return None if fields["fault"] is None else Fault(str(fields["fault"]))


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("the parameters are not an object")
    return {str(name): str(text) for name, text in value.items()}


class JournalFile:
    """The journal on disk: append-only, each line one write, so that a kill cannot tear an old line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def load(self) -> list[JournalLine]:
        """Open the file, drop a torn last line, and return what it holds. Raises ConfigError."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            raw = self._path.read_bytes()
            whole = raw[: raw.rfind(b"\n") + 1]
            if len(whole) < len(raw):
                os.ftruncate(self._descriptor, len(whole))
            return [parse_line(line) for line in whole.decode().splitlines()]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.close()
            raise ConfigError(
                f"the simulator's journal {self._path} cannot be used: {error}",
                hint="give another path, or move this file away to begin with no tasks",
            ) from error

    def append(self, line: JournalLine) -> None:
        """Write one line and hand it to the operating system: it survives a kill of this process."""
        if self._descriptor is None:
            raise ValueError("the journal is not open: call load() first")
        text = json.dumps(line.to_json(), ensure_ascii=True) + "\n"
        os.write(self._descriptor, text.encode("ascii"))

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
