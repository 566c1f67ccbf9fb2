"""What `dispatches rerun` takes and tells."""

import re
from typing import TYPE_CHECKING

from dispatcher.cli.invocation import Invocation
from dispatcher.cli.output import Format, print_document, print_line
from dispatcher.errors import UsageError

if TYPE_CHECKING:
    from dispatcher.service.rerunning import NotRerun, Rerun

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> None:
    """Raise UsageError for a name that is none: it stands in tables and commands, and for ever in the ledger."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--again {name}: not a name",
            hint="write up to 64 letters, digits, dots, dashes and underscores: fix-2026-03",
        )


def print_rerun(asked: Invocation, done: "Rerun", name: str) -> None:
    """Print what was done, and how it goes on."""
    from dispatcher.core.location import object_url  # noqa: PLC0415

    if asked.output is not Format.TABLE:
        not_rerun = [
            {"reason": reason.value, "count": count, "example": object_url(*done.examples[reason])}
            for reason, count in sorted(done.not_rerun.items())
        ]
        print_document(
            {
                "run": name,
                "selected": done.selected,
                "recorded": done.recorded,
                "known": done.known,
                "backfill": done.backfill,
                "not_rerun": not_rerun,
            },
            asked.output,
        )
        return
    print_line(f"run {name}: {done.recorded} of {done.selected} selected dispatches start again")
    if done.known:
        print_line(f"  {done.known} have a dispatch of this run already")
    for reason, count in sorted(done.not_rerun.items()):
        print_line(f"  {count} do not: {_why(reason)}; first: {object_url(*done.examples[reason])}")
    if done.backfill is not None:
        print_line(f"a running dispatcher sends them after everything live, as backfill {done.backfill}; without one:")
        print_line(f"  oss-dispatcher backfill resume {done.backfill}")


def _why(reason: "NotRerun") -> str:
    from dispatcher.service.rerunning import NotRerun  # noqa: PLC0415 - SQLAlchemy

    match reason:
        case NotRerun.UNFINISHED:
            return "they have not ended and may start yet"
        case NotRerun.GONE:
            return "the object is not there any more"
        case NotRerun.CHANGED:
            return "the object has other content now, which has a dispatch of its own"
        case NotRerun.UNMATCHED:
            return "their rule does not take the object any more"
        case NotRerun.UNREADABLE:
            return "the store does not let us look at the object"
