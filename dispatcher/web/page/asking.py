"""Before anything is changed: what would be changed, in words, and what has to be said for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.errors import MissingError, UsageError
from dispatcher.web.page.answering import first, said_yes

if TYPE_CHECKING:
    from dispatcher.web.page.desk import Changes, Query


@dataclass(frozen=True, slots=True)
class Field:
    """Something to fill in."""

    name: str
    label: str
    help: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before a change. `possible`: there is anything to change."""

    title: str
    button: str
    says: str
    means: str
    possible: bool = True
    field: Field | None = None


_DISPATCHES = {
    "retry": "Dead, skipped and held uncertain dispatches are sent (again), now. Each is a start that is paid.",
    "skip": "Pending, dead and held uncertain dispatches are given up: they are never sent.",
    "probe": "Uncertain dispatches are looked for among the service's tasks now; absences are counted afresh.",
    "rerun": "Dispatches that ended run once more, as a named run. Each is a start that is paid again.",
}
_RUN = Field(
    "again", "Name of the run", "The same name again adds nothing. Letters, digits, dots, dashes.", needed=True
)
_WHY = Field("detail", "Why", "For whoever reads it later.")
_STARTS = Field("count", "How many more starts today", "Empty: all that wait now.")


def question(changes: Changes, what: str, query: Query) -> Question:
    """Return what to ask before a change. Raises DispatcherError for one that means nothing."""
    verb = first(query, "verb")
    match what:
        case "dispatches":
            return _dispatches(changes, verb, query)
        case "rules":
            return _rules(verb, query)
        case "quarantine":
            return _quarantine(verb, query)
        case _:
            return _backfills(verb, query)


def _dispatches(changes: Changes, verb: str, query: Query) -> Question:
    count = changes.count(verb, query)
    return Question(
        title=f"{verb.capitalize()} {count:,} dispatch{'es' if count != 1 else ''}?",
        button=f"{verb.capitalize()} {count:,}",
        says=_DISPATCHES[verb],
        means="Only what is in a state where this means anything is changed.",
        possible=count > 0,
        field=_RUN if verb == "rerun" else None,
    )


def _rules(verb: str, query: Query) -> Question:
    rule, every = first(query, "rule"), said_yes(query, "all")
    if not rule and not every:
        raise UsageError(f"rules {verb}: which one? nothing is selected", hint="go back, and choose a rule")
    named = rule or "all rules"
    match verb:
        case "pause":
            says = "Its objects are still recorded, and nothing of it is sent until it is resumed."
            return Question(f"Pause {named}?", "Pause", says, "Calls under way end.", field=_WHY)
        case "resume":
            says = (
                "Ends any hold of it: an operator's, and those for a loop or for refusals."
                if rule
                else "Ends the holds that operators made; those for a loop or for refusals stay."
            )
            return Question(f"Resume {named}?", "Resume", says, "What waits is sent, within the quota and the budget.")
        case "release" if rule:
            says = "Rows that wait for its daily budget may go today. Each is a start that is paid."
            return Question(
                f"Release the budget of {rule}?", "Release", says, "Tomorrow it counts anew.", field=_STARTS
            )
        case _:
            raise MissingError(f"rules {verb[:40]}: no such verb", hint="there are pause, resume and release")


def _quarantine(verb: str, query: Query) -> Question:
    numbers = [each for each in query.get("number", ()) if each]
    named = f"{len(numbers)} bod{'ies' if len(numbers) != 1 else 'y'}"
    possible = bool(numbers)
    if said_yes(query, "all"):
        named, possible = "all bodies", True
    match verb:
        case "retry":
            says = "They are decoded again, as their sources are configured now; what is understood is taken."
            return Question(f"Decode {named} again?", "Retry", says, "What still means nothing stays.", possible)
        case "drop":
            says = "They are forgotten for good. A listing still finds the objects that they told of."
            return Question(f"Drop {named}?", "Drop", says, "This cannot be undone.", possible)
        case _:
            raise MissingError(f"quarantine {verb[:40]}: no such verb", hint="there are retry and drop")


def _backfills(verb: str, query: Query) -> Question:
    number = first(query, "number")
    match verb:
        case "pause":
            return Question(f"Pause backfill {number}?", "Pause", "Nothing of it is sent until it is resumed.", "")
        case "resume":
            return Question(f"Resume backfill {number}?", "Resume", "A running dispatcher goes on sending it.", "")
        case "cancel":
            says = "What of it was never sent is skipped. This cannot be undone."
            return Question(f"Cancel backfill {number}?", "Cancel the backfill", says, "Calls under way end.")
        case _:
            raise MissingError(f"backfill {verb[:40]}: no such verb", hint="there are pause, resume and cancel")
