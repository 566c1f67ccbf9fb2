"""Opening what an adoption, a comparison or a rerun works with: the ledger, the service's lists, the stores."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.place import path_of
from dispatcher.service.adopting import Adopting
from dispatcher.service.assembly import open_buckets
from dispatcher.service.daemon import utc_now
from dispatcher.service.permits import ReadPermits
from dispatcher.service.rerunning import Rerunning
from dispatcher.service.starts import open_starts
from dispatcher.targets.alibaba import AlibabaClients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.settings import Settings
    from dispatcher.service.adoption import Adoption


@contextmanager
def open_adopting(
    settings: Settings,
    stop: threading.Event,
    *,
    foreign: bool,
    dry_run: bool,
    progress: Callable[[Adoption], None],
) -> Iterator[Adopting]:
    """Yield what adopts into the configured ledger, which is made if there is none. Raises LedgerError.

    A dry run makes no file: without a ledger it works on an empty one that is thrown away.
    """
    with ExitStack() as stack:
        url = settings.ledger.url
        if dry_run and path_of(url).exists():
            Ledger.open(url, readonly=True).close()  # one of an earlier version would be upgraded
        elif dry_run:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oss-dispatcher-")))
            url = f"sqlite:///{place / 'empty.db'}"
        ledger = stack.enter_context(closing(Ledger.open(url)))
        clients = stack.enter_context(closing(AlibabaClients(settings.credentials, call_timeout=settings.call_timeout)))
        permits = ReadPermits(ledger, settings.rates, utc_now, stop)
        stores = open_buckets(settings)
        for store in stores.values():
            stack.callback(store.close)
        yield Adopting(
            settings,
            ledger,
            open_starts(settings, clients, permits, stop),
            stores,
            utc_now,
            stop,
            foreign=foreign,
            dry_run=dry_run,
            progress=progress,
        )


@contextmanager
def open_rerunning(settings: Settings, ledger: Ledger) -> Iterator[Rerunning]:
    """Yield what records reruns into an open ledger."""
    with ExitStack() as stack:
        stores = open_buckets(settings)
        for store in stores.values():
            stack.callback(store.close)
        yield Rerunning(settings, ledger, stores, utc_now, threading.Event())
