"""Opening the sources of notifications: from their settings to what receives, and what they cover."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.observations import SourceAnswered, unmetered
from dispatcher.core.settings import FolderSettings, SmqSettings, SqsSettings, WebhookSettings
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.intake import Coverage
from dispatcher.service.listening import Listener
from dispatcher.service.receiving import BodyReceiver
from dispatcher.targets.alibaba import keys_of_alibaba

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from starlette.routing import BaseRoute

    from dispatcher.core.observations import Meter
    from dispatcher.core.settings import Credentials, Settings, SourceSettings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.rulesets import Registered
    from dispatcher.ports import HintTaker, Source
    from dispatcher.service.intake import Intake
    from dispatcher.service.metrics import Metrics
    from dispatcher.sources.queue import QueueSource


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


def _heard(source: QueueSource, meter: Meter) -> QueueSource:
    source.answered = partial(meter, SourceAnswered(source.name))
    return source


def open_sources(
    settings: Settings, ledger: Ledger, registered: Registered, meter: Meter = unmetered
) -> tuple[Source, ...]:
    """Return the sources that are iterated, in the order of the configuration. Nothing is requested yet."""
    opened = (_open(source, settings, ledger, registered, meter) for source in settings.sources)
    return tuple(source for source in opened if source is not None)


def _open(
    source: SourceSettings, settings: Settings, ledger: Ledger, registered: Registered, meter: Meter
) -> Source | None:
    # Imported here: each brings a library that a configuration without it need not load.
    match source:
        case SmqSettings():
            from dispatcher.sources.smq import open_smq  # noqa: PLC0415 - as above

            return _heard(open_smq(source, _keys(source.credentials, settings)), meter)
        case SqsSettings():
            from dispatcher.sources.sqs import open_sqs  # noqa: PLC0415 - as above

            return _heard(open_sqs(source), meter)
        case FolderSettings():
            from dispatcher.sources.folder import FolderSource  # noqa: PLC0415 - as above

            wanted = any(rule.existing.dispatch for rule in settings.rules.rules if rule.input.bucket == source.bucket)
            return FolderSource(source, LedgerSnapshots(ledger), registered.revision, existing_wanted=wanted)
        case WebhookSettings():
            return None  # it is pushed to: the listener serves it
        case _:
            assert_never(source)


def make_listener(  # noqa: PLR0913 - what is served, by name
    settings: Settings,
    intake: Intake,
    hint: HintTaker,
    clock: Callable[[], datetime],
    failed: Callable[[BaseException], None],
    *,
    metrics: Metrics | None = None,
    page: Sequence[BaseRoute] = (),
) -> Listener:
    """Return the listeners: the operator's, with its page, and for webhooks and callbacks the public one."""
    # Imported here: `backfill` puts a dispatcher together too, and listens to nobody.
    from dispatcher.web.callbacks import PATH as CALLBACKS  # noqa: PLC0415 - as above
    from dispatcher.web.health import health_routes  # noqa: PLC0415 - Starlette: as above
    from dispatcher.web.metrics import metrics_route  # noqa: PLC0415 - as above
    from dispatcher.web.operating import Shared, operator_app  # noqa: PLC0415 - as above
    from dispatcher.web.server import WebServer  # noqa: PLC0415 - uvicorn: as above
    from dispatcher.web.webhooks import Webhooks  # noqa: PLC0415 - as above

    http, serve = settings.http, partial(WebServer, failed=failed)
    operator = operator_app(
        [*health_routes(intake.health), *([] if metrics is None else [metrics_route(metrics.render)]), *page], clock
    )
    hooks = [source for source in settings.sources if isinstance(source, WebhookSettings)]
    if not hooks and settings.callbacks is None:
        return Listener(serve(operator, http.listen), needed=http.listen_written)
    webhooks = Webhooks(hooks, BodyReceiver(intake, intake.meter), clock, callbacks=settings.callbacks, hint=hint)
    if http.public == http.listen:
        both = Shared(operator, webhooks.app, [CALLBACKS, *(hook.path for hook in hooks)])
        return Listener(None, public=serve(both, http.public), webhooks=webhooks)
    return Listener(
        serve(operator, http.listen),
        needed=http.listen_written,
        public=serve(webhooks.app, http.public),
        webhooks=webhooks,
    )


def _keys(own: Credentials | None, settings: Settings) -> Callable[[], Credentials]:
    return keys_of_alibaba(settings.credentials if own is None else own)
