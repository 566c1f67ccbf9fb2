"""The journal: one JSON line for each task that really started, written before anybody is told.

It is the truth that tests and users count by. With a path, the state of a killed simulator is
rebuilt from it; a last line that was cut off by the kill was never answered and is dropped.
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

    def to_json(self) -> dict[str, str | bool | None]:
        """Return the entry as it stands in the journal file and in `GET /simulator/journal`."""
        return asdict(self) | {"at": self.at.isoformat()}

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Return the entry of a journal line. Raises ValueError, KeyError or TypeError for another text."""
        fields = json.loads(line)
        return cls(
            at=datetime.fromisoformat(fields["at"]),
            task_id=fields["task_id"],
            workflow_id=fields["workflow_id"],
            task_input=fields["task_input"],
            user_data=fields["user_data"],
            request_id=fields["request_id"],
            skip_input_verification=bool(fields["skip_input_verification"]),
            fault=None if fields["fault"] is None else Fault(fields["fault"]),
            origin=Origin(fields["origin"]),
        )


class JournalFile:
    """The journal on disk: append-only, each line one write, so that a kill cannot tear an old line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def load(self) -> list[JournalEntry]:
        """Open the file, drop a torn last line, and return what it holds. Raises ConfigError."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            raw = self._path.read_bytes()
            whole = raw[: raw.rfind(b"\n") + 1]
            if len(whole) < len(raw):
                os.ftruncate(self._descriptor, len(whole))
            return [JournalEntry.from_line(line) for line in whole.decode().splitlines()]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.close()
            raise ConfigError(
                f"the simulator's journal {self._path} cannot be used: {error}",
                hint="give another path, or move this file away to begin with no tasks",
            ) from error

    def append(self, entry: JournalEntry) -> None:
        """Write one line and hand it to the operating system: it survives a kill of this process."""
        if self._descriptor is None:
            raise ValueError("the journal is not open: call load() first")
        line = json.dumps(entry.to_json(), ensure_ascii=True) + "\n"
        os.write(self._descriptor, line.encode("ascii"))

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
