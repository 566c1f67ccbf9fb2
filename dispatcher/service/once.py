"""`run --once`: one pass of every bucket, then send what is due, then tell what is left."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.errors import ExitCode
from dispatcher.ledger import counting, notices, rates
from dispatcher.ledger.notices import NoticeCode
from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.service.daemon import Daemon
    from dispatcher.service.worker import Worker

SOON = timedelta(seconds=30)
"""Rows that become due within this are waited for; others are left to the next run (exit 75)."""
LOOK_EVERY_SECONDS = 0.05


def run_once(daemon: Daemon) -> ExitCode:
    """Make one pass over every bucket, drain, and return the exit code of the contract.

    Sightings and uncertain rows of earlier runs are looked after too, so that running again settles
    what a run left behind. Sources of notifications have no end and are not started.
    """
    begun = daemon.upkeep.clock()
    sender = daemon.start_worker()
    daemon.upkeep.clean()
    daemon.deciding.tick()
    if daemon.worker is not None:
        daemon.upkeep.tick()
    for poll in daemon.polls:
        poll.tick(daemon.stop)
    if daemon.worker is not None:
        _wait_for_calls(daemon, daemon.worker)
        daemon.upkeep.tick()
    asked_to_stop = daemon.stop.is_set()
    daemon.stop.set()
    drained = daemon.drain(None, sender)
    refused = next((poll.failure for poll in daemon.polls if poll.failure is not None), None)
    if refused is not None and drained is ExitCode.DONE:
        return refused.exit_code
    if drained is not ExitCode.DONE:
        return drained
    with daemon.ledger.read() as tx:
        left = what_is_left(tx, begun)
        if left is not ExitCode.DONE and not asked_to_stop and unauthorized(tx):
            return ExitCode.CREDENTIALS
    return ExitCode.STOPPED_EARLY if asked_to_stop else left


def _wait_for_calls(daemon: Daemon, worker: Worker) -> None:
    """Wait until nothing is being sent and nothing will be due soon, or until asked to stop."""
    while not worker.idle(SOON) and not daemon.stop.wait(LOOK_EVERY_SECONDS):
        pass


def what_is_left(tx: Connection, begun: datetime) -> ExitCode:
    """Return what a run that began then leaves behind, as an exit code."""
    unfinished, dead = counting.unfinished(tx), counting.dead_since(tx, begun)
    get_logger().info("once.done", unfinished=unfinished, dead=dead)
    if unfinished or NoticeCode.LEDGER_BEHIND in notices.standing(tx):
        return ExitCode.STOPPED_EARLY
    return ExitCode.OBJECTS_FAILED if dead else ExitCode.DONE


def unauthorized(tx: Connection) -> bool:
    """Tell whether calls wait because the service refuses the account: running again would not help."""
    return any(health.unauthorized for health in rates.healths(tx).values())
