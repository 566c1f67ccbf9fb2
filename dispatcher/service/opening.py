"""Opening the sources of notifications: from their settings to what receives, and what they cover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.settings import FolderSettings, SmqSettings, SqsSettings, WebhookSettings
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.intake import Coverage
from dispatcher.service.receiving import BodyReceiver
from dispatcher.targets.alibaba import keys_of_alibaba

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.core.settings import Credentials, Settings, SourceSettings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.rulesets import Registered
    from dispatcher.ports import HintTaker, Source
    from dispatcher.service.intake import Intake
    from dispatcher.web.server import WebServer
    from dispatcher.web.webhooks import Webhooks


@dataclass(frozen=True)
class Listener:
    """The public listener with its webhooks."""

    server: WebServer
    webhooks: Webhooks

    def start(self) -> None:
        """Listen. Raises ServiceUnavailableError if the address cannot be taken."""
        self.server.start()

    def stop(self) -> None:
        """Take nothing new, let what is being committed end. Idempotent."""
        self.server.stop()
        self.webhooks.close()


def coverage_of(settings: Settings) -> Coverage:
    """Return what the configured sources of notifications tell of. A folder tells only of its own files."""
    announced: set[str] = set()
    growing: set[str] = set()
    for source in settings.sources:
        if isinstance(source, FolderSettings):
            continue
        buckets = source.buckets or settings.rules.buckets()
        announced.update(buckets)
        if source.accept.append:
            growing.update(buckets)
    return Coverage(frozenset(announced), frozenset(growing))


def open_sources(settings: Settings, ledger: Ledger, registered: Registered) -> tuple[Source, ...]:
    """Return the sources that are iterated, in the order of the configuration. Nothing is requested yet."""
    opened = (_open(source, settings, ledger, registered) for source in settings.sources)
    return tuple(source for source in opened if source is not None)


def _open(source: SourceSettings, settings: Settings, ledger: Ledger, registered: Registered) -> Source | None:
    # Imported here: each brings a library that a configuration without it need not load.
    match source:
        case SmqSettings():
            from dispatcher.sources.smq import open_smq  # noqa: PLC0415 - as above

            return open_smq(source, _keys(source.credentials, settings))
        case SqsSettings():
            from dispatcher.sources.sqs import open_sqs  # noqa: PLC0415 - as above

            return open_sqs(source)
        case FolderSettings():
            from dispatcher.sources.folder import FolderSource  # noqa: PLC0415 - as above

            wanted = any(rule.existing.dispatch for rule in settings.rules.rules if rule.input.bucket == source.bucket)
            return FolderSource(source, LedgerSnapshots(ledger), registered.revision, existing_wanted=wanted)
        case WebhookSettings():
            return None  # it is pushed to: the listener serves it
        case _:
            assert_never(source)


def make_listener(
    settings: Settings,
    intake: Intake,
    hint: HintTaker,
    clock: Callable[[], datetime],
    failed: Callable[[BaseException], None],
) -> Listener | None:
    """Return the public listener, None where neither webhooks nor callbacks are configured."""
    hooks = [source for source in settings.sources if isinstance(source, WebhookSettings)]
    if not hooks and settings.callbacks is None:
        return None
    from dispatcher.web.server import WebServer  # noqa: PLC0415 - uvicorn: only with a webhook
    from dispatcher.web.webhooks import Webhooks  # noqa: PLC0415 - Starlette: as above

    webhooks = Webhooks(hooks, BodyReceiver(intake), clock, callbacks=settings.callbacks, hint=hint)
    return Listener(WebServer(webhooks.app, settings.http.public, failed=failed), webhooks)


def _keys(own: Credentials | None, settings: Settings) -> Callable[[], Credentials]:
    return keys_of_alibaba(settings.credentials if own is None else own)
