"""`run`: from settings to an exit code, with signals, warnings at start, and the ledger open for as long."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dispatcher.core.location import object_url
from dispatcher.core.problems import Severity
from dispatcher.errors import ConfigError
from dispatcher.ledger.engine import Ledger
from dispatcher.service.assembly import assemble
from dispatcher.service.checking import check
from dispatcher.service.daemon import utc_now
from dispatcher.service.logs import get_logger
from dispatcher.service.notifying import manager_of_process
from dispatcher.service.once import run_once
from dispatcher.service.placing import place_problems
from dispatcher.service.stopping import Stop, say_unchanged

if TYPE_CHECKING:
    from dispatcher.core.settings import Settings
    from dispatcher.errors import ExitCode
    from dispatcher.service.metrics import Metrics


def run(settings: Settings, *, once: bool, shadow: bool) -> ExitCode:
    """Run the daemon until a signal, or one pass; blocks, and owns SIGTERM, SIGINT and SIGHUP.

    Raises DispatcherError if it cannot start.
    """
    stop = Stop()
    stop.listen(None if once else say_unchanged)
    tell_problems(settings)
    manager = manager_of_process()
    with manager.extending("opening the ledger"):
        ledger = Ledger.open(settings.ledger.url)
    try:
        with manager.extending("waiting for the right to send"):
            metrics = None if once else _make_metrics(settings, ledger)
            daemon = assemble(settings, ledger, utc_now, stop.event, shadow=shadow, metrics=metrics)
        daemon.manager = manager
        return run_once(daemon) if once else daemon.run_until_stopped()
    finally:
        ledger.close()


def _make_metrics(settings: Settings, ledger: Ledger) -> Metrics:
    from dispatcher.service.metrics import Metrics  # noqa: PLC0415 - its library: not for one pass

    return Metrics(settings, ledger, utc_now)


def tell_problems(settings: Settings) -> None:
    """Log what `check` would say. Raises ConfigError for an error: it does not start with one."""
    problems = [*check(settings), *place_problems(settings, os.environ)]
    for problem in problems:
        get_logger().warning(
            f"check.{problem.code}",
            rules=list(problem.rules),
            witness=None if problem.witness is None else object_url(*problem.witness),
            message=problem.message,
            hint=problem.hint,
        )
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise ConfigError(
            "\n".join(f"{problem.code}: {problem.message}" for problem in errors),
            hint=errors[0].hint,
        )
