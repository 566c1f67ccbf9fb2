"""The errors that reach an operator.

Every error says what happened and where, carries a hint that says what to do next,
and knows the exit code of the public contract. Anything else that escapes is a bug.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class ExitCode(IntEnum):
    """Exit codes of the command line (public contract)."""

    DONE = 0
    OBJECTS_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 69
    STOPPED_EARLY = 75
    CREDENTIALS = 77
    CONFIG = 78


class DispatcherError(Exception):
    """Base of all errors shown to an operator: a message, and a hint what to do.

    Neither may contain a secret or a signed URL.
    """

    exit_code: ExitCode = ExitCode.UNAVAILABLE

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DispatcherError):
    """The command line itself is wrong."""

    exit_code = ExitCode.USAGE


class MissingError(UsageError):
    """What was asked for by its id or number is not there."""


class ConfigError(DispatcherError):
    """The configuration is wrong; the message holds every problem, one on a line."""

    exit_code = ExitCode.CONFIG


class LocationError(DispatcherError):
    """A text that names no bucket location; the message says what to write instead."""

    exit_code = ExitCode.CONFIG


class CredentialsError(DispatcherError):
    """Credentials are missing, refused, or not allowed to do what is asked."""

    exit_code = ExitCode.CREDENTIALS


class ServiceUnavailableError(DispatcherError):
    """A service that is needed now does not answer or answers with a failure."""

    exit_code = ExitCode.UNAVAILABLE


class ListingError(ServiceUnavailableError):
    """A bucket could not be listed; nothing of the failed answer was used."""


class BucketDeniedError(CredentialsError):
    """The store refuses these credentials for this bucket."""

    answered_at: datetime | None = None
    """When, by the store's clock, if it said so."""


class BucketMissingError(DispatcherError):
    """The bucket does not exist on this endpoint."""

    exit_code = ExitCode.CONFIG
    answered_at: datetime | None = None
    """When, by the store's clock, if it said so."""


class InventoryError(ServiceUnavailableError):
    """An inventory of a bucket cannot be read: a file is missing, damaged, or not what the manifest says."""


class QueueError(ServiceUnavailableError):
    """A queue does not answer, or answers with a failure; its messages stay where they are."""


class QueueDeniedError(CredentialsError):
    """The queue service refuses these credentials for this queue."""


class QueueMissingError(DispatcherError):
    """The queue does not exist on this endpoint."""

    exit_code = ExitCode.CONFIG


class FolderError(ServiceUnavailableError):
    """A watched directory cannot be read or watched; its files stay where they are and are seen later."""


class LedgerError(DispatcherError):
    """The ledger cannot be used as it is (full disk, damage, wrong version, locked)."""

    exit_code = ExitCode.UNAVAILABLE
    passing: bool = False
    """Whether the same work may succeed later without the ledger being replaced (a full disk, a lock)."""
