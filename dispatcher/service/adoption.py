"""What an adoption did, in figures; and why a task of somebody else is not taken over."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class NotAdopted(StrEnum):
    """Why a task without our id is not taken for a start of the object that lies there now.

    GONE: there is no such object any more. NEWER: it was written after the task began, which read something
    else. UNREADABLE: the store, or the task, does not tell enough. STARTED: the ledger has another task for this
    content, so that two tasks read it. SENDING: a call of ours is under way.
    """

    GONE = "GONE"
    NEWER = "NEWER"
    UNREADABLE = "UNREADABLE"
    STARTED = "STARTED"
    SENDING = "SENDING"


@dataclass
class Adoption:
    """What was done so far; in a dry run, what would be.

    `listed` starts were read. With our id: `rows` and `tombstones` are new, `known` the ledger knew; `settled` rows
    turned out to be started, `finished` ones got their final status, `double_starts` are second tasks of one
    dispatch. `without_id` read an object of a rule and run its workflow: of these `foreign_rows` are new and
    `foreign_settled` were waiting; `not_adopted` says why the others are not. `elsewhere`: none of ours. `behind`: the
    window was too short to know all that this ledger may have started. `unreadable`: what the first store said that
    did not let us look at an object.
    """

    complete: bool = False
    behind: bool = False
    unreadable: str | None = None
    listed: int = 0
    rows: int = 0
    tombstones: int = 0
    settled: int = 0
    finished: int = 0
    double_starts: int = 0
    known: int = 0
    elsewhere: int = 0
    without_id: int = 0
    foreign_rows: int = 0
    foreign_settled: int = 0
    not_adopted: dict[NotAdopted, int] = field(default_factory=dict)
    examples: dict[NotAdopted, tuple[str, str]] = field(default_factory=dict)

    def refuse(self, reason: NotAdopted, place: tuple[str, str]) -> None:
        """Count a task that is not adopted, and keep the first object for each reason."""
        self.not_adopted[reason] = self.not_adopted.get(reason, 0) + 1
        self.examples.setdefault(reason, place)
