"""What a dispatch is: its identity, its states, and the reasons for them."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from itertools import product

from dispatcher.core.events import encode_key, normalise_etag

ID_LENGTH = 26
"""Characters of a dispatch id: 16 bytes in base32 without padding."""

# The standard library's base32 is slow, and a batch of sightings needs thousands: two characters at a time from
# a table, and back by Python's own conversion from base 32, whose digits are others (every wrong byte becomes "!").
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(map("".join, product(_ALPHABET, repeat=2)))
_PAIR_SHIFTS = tuple(range(120, -1, -10))
_SPARE_BITS = ID_LENGTH * 5 - 128
_DIGITS = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[_ALPHABET.index(chr(byte))] if chr(byte) in _ALPHABET else ord("!")
    for byte in range(256)
)


class DispatchState(StrEnum):
    """Where a dispatch stands. `started`, `dead` and `skipped` are finished."""

    PENDING = "pending"
    SENDING = "sending"
    STARTED = "started"
    UNCERTAIN = "uncertain"
    DEAD = "dead"
    SKIPPED = "skipped"


class StateReason(StrEnum):
    """Why a dispatch is in its state, or what a waiting one waits for."""

    # skipped
    OPERATOR = "OPERATOR"
    SUPERSEDED = "SUPERSEDED"
    GONE = "GONE"
    RULE_REMOVED = "RULE_REMOVED"
    SHADOW = "SHADOW"
    # dead
    REJECTED = "REJECTED"
    ATTEMPTS = "ATTEMPTS"
    USER_DATA = "USER_DATA"
    LIMIT = "LIMIT"
    # waiting
    THROTTLED = "THROTTLED"
    BACKOFF = "BACKOFF"
    BUDGET = "BUDGET"
    PAUSED = "PAUSED"
    HELD = "HELD"
    SETTLING = "SETTLING"


class TaskStatus(StrEnum):
    """Status of a task as the service names it: of a workflow task (ListWorkflowTasks), or of a producing job
    (ListMediaProducingJobs), which queues, and whose success has another word.
    """

    INIT = "Init"
    QUEUING = "Queuing"
    PROCESSING = "Processing"
    SUCCEED = "Succeed"
    SUCCESS = "Success"
    FAILED = "Failed"
    CANCELED = "Canceled"

    @property
    def succeeded(self) -> bool:
        return self in (TaskStatus.SUCCEED, TaskStatus.SUCCESS)

    @property
    def final(self) -> bool:
        return self.succeeded or self in (TaskStatus.FAILED, TaskStatus.CANCELED)


def content_identity(etag: str, size: int) -> str:
    """Return `c:<etag>:<size>`: what makes two contents of one key the same.

    Never a time: OSS moves Last-Modified on storage-class, metadata and ACL changes.
    """
    return f"c:{normalise_etag(etag)}:{size}"


def dispatch_id(rule_id: str, bucket: str, key: str, identity: str, run: str = "") -> str:
    """Return the id of the dispatch of one rule for one content of one object.

    SHA-256 over the fields `v1`, rule, bucket, key, identity and run, each preceded by
    its length as four big-endian bytes; first 16 bytes as lower-case base32 without
    padding. Deterministic: the same sighting gives the same id on every replica.
    """
    digest = hashlib.sha256()
    for field in (b"v1", rule_id.encode(), bucket.encode(), encode_key(key), identity.encode(), run.encode()):
        digest.update(len(field).to_bytes(4, "big"))
        digest.update(field)
    return id_from_bytes(digest.digest()[:16])


def attempt_token(dispatch: str, attempt: int) -> str:
    """Return what UserData carries as `DispatchId`: the dispatch id and the attempt."""
    return f"{dispatch}.{attempt}"


def parse_attempt_token(text: str) -> tuple[str, int] | None:
    """Return (dispatch id, attempt) of an `attempt_token`, None for any other text."""
    dispatch, _, attempt = text.partition(".")
    if len(dispatch) != ID_LENGTH or not set(dispatch) <= set(_ALPHABET):
        return None
    if not attempt.isascii() or not attempt.isdigit() or len(attempt) > 9:  # noqa: PLR2004 - fits an INTEGER
        return None
    return dispatch, int(attempt)


def id_to_bytes(dispatch: str) -> bytes:
    """Return the 16 bytes behind a dispatch id (tombstones store these). Raises ValueError for any other text."""
    if len(dispatch) != ID_LENGTH:
        raise ValueError(f"{dispatch!r} is no dispatch id: it has {len(dispatch)} characters, not {ID_LENGTH}")
    number = int(dispatch.encode("ascii", "replace").translate(_DIGITS), 32)
    return (number >> _SPARE_BITS).to_bytes(16, "big")


def id_from_bytes(raw: bytes) -> str:
    """Return the dispatch id of its 16 bytes."""
    number = int.from_bytes(raw, "big") << _SPARE_BITS
    return "".join([_PAIRS[number >> shift & 1023] for shift in _PAIR_SHIFTS])
