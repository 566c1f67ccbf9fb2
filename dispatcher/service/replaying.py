"""Replaying quarantine: bodies are decoded again as their source is configured now, and taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.decoding import COMPLETE_ONLY, Format
from dispatcher.core.settings import FolderSettings
from dispatcher.ledger import quarantine, rulesets
from dispatcher.ledger.quarantine import Choice
from dispatcher.ports import Batch
from dispatcher.service.intake import Intake
from dispatcher.service.opening import coverage_of
from dispatcher.service.receiving import batch_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.core.decoding import Acceptance
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.quarantine import Quarantined

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a retry did: bodies that are understood now, and those that still mean nothing."""

    understood: int = 0
    left: int = 0


def replay(
    settings: Settings, ledger: Ledger, choice: Choice, form: Format | None, clock: Callable[[], datetime]
) -> Replayed:
    """Decode the chosen bodies again and take what they mean. Idempotent; the daemon may run.

    `form` replaces the source's format. A body of which a part still means nothing stays in
    quarantine, after its other parts were taken.
    """
    with ledger.read() as tx:
        revisions, since = rulesets.first_revisions(tx), rulesets.since(tx)
    rules = settings.rules
    current = {rule.id: revisions.get(rule.id, 0) for rule in rules.rules}
    intake = Intake(ledger, rules, current, clock, _nobody_waits, since=since, coverage=coverage_of(settings))
    understood = left = after = 0
    while True:
        with ledger.read() as tx:
            some = quarantine.select_some(tx, choice, after=after, limit=AT_ONCE)
        if not some:
            return Replayed(understood, left)
        for each in some:
            after = each.number
            if _replayed(settings, ledger, intake, each, form):
                understood += 1
            else:
                left += 1


def _replayed(settings: Settings, ledger: Ledger, intake: Intake, each: Quarantined, form: Format | None) -> bool:
    written, accept = _reading_of(settings, each.source)
    batch = batch_of(each.source, each.body, form or written, accept)
    if batch.undecodable:
        with ledger.write() as tx:
            quarantine.explain(tx, each.number, "; ".join(dict.fromkeys(part.reason for part in batch.undecodable)))
    # Taken first, then dropped: a crash between the two only repeats the first.
    intake.take(Batch(batch.events))
    if batch.undecodable:
        return False
    with ledger.write() as tx:
        quarantine.drop(tx, Choice(numbers=(each.number,)))
    return True


def _reading_of(settings: Settings, name: str) -> tuple[Format | None, Acceptance]:
    """Return how a source reads its bodies now; one that is configured no more is read by their own marks."""
    for source in settings.sources:
        if source.name == name and not isinstance(source, FolderSettings):
            return source.format, source.accept
    return None, COMPLETE_ONLY


def _nobody_waits() -> None:
    """Wake nobody: the worker that sends is in another process and looks by itself."""
