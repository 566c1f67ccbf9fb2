"""What `dispatches rerun` takes and tells."""

from typing import TYPE_CHECKING

from dispatcher.cli.invocation import Invocation
from dispatcher.cli.output import Format, print_document, print_line

if TYPE_CHECKING:
    from dispatcher.service.rerunning import NotRerun, Rerun


def print_rerun(asked: Invocation, done: "Rerun", name: str) -> None:
    """Print what was done, and how it goes on."""
    from dispatcher.core.location import object_url  # noqa: PLC0415
    from dispatcher.service.rerunning import rerun_json  # noqa: PLC0415 - SQLAlchemy

    if asked.output is not Format.TABLE:
        print_document(rerun_json(done, name), asked.output)
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
