"""What a dispatch is: its identity, its states, and the reasons for them."""

from __future__ import annotations

import base64
import hashlib
from enum import StrEnum

from dispatcher.core.events import encode_key, normalise_etag

ID_LENGTH = 26
"""Characters of a dispatch id: 16 bytes in base32 without padding."""


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
    # waiting
    THROTTLED = "THROTTLED"
    BACKOFF = "BACKOFF"
    BUDGET = "BUDGET"
    PAUSED = "PAUSED"
    HELD = "HELD"
    SETTLING = "SETTLING"


class TaskStatus(StrEnum):
    """Status of a workflow task as the service names it (ListWorkflowTasks)."""

    INIT = "Init"
    PROCESSING = "Processing"
    SUCCEED = "Succeed"
    FAILED = "Failed"
    CANCELED = "Canceled"

    @property
    def final(self) -> bool:
        return self in (TaskStatus.SUCCEED, TaskStatus.FAILED, TaskStatus.CANCELED)


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
    return base64.b32encode(digest.digest()[:16]).decode("ascii").lower().rstrip("=")


def attempt_token(dispatch: str, attempt: int) -> str:
    """Return what UserData carries as `DispatchId`: the dispatch id and the attempt."""
    return f"{dispatch}.{attempt}"


def parse_attempt_token(text: str) -> tuple[str, int] | None:
    """Return (dispatch id, attempt) of an `attempt_token`, None for any other text."""
    dispatch, _, attempt = text.partition(".")
    if len(dispatch) != ID_LENGTH or not set(dispatch) <= set("abcdefghijklmnopqrstuvwxyz234567"):
        return None
    if not attempt.isascii() or not attempt.isdigit() or len(attempt) > 9:  # noqa: PLR2004 - fits an INTEGER
        return None
    return dispatch, int(attempt)


def id_to_bytes(dispatch: str) -> bytes:
    """Return the 16 bytes behind a dispatch id (tombstones store these)."""
    return base64.b32decode(dispatch.upper() + "=" * (-len(dispatch) % 8))


def id_from_bytes(raw: bytes) -> str:
    """Return the dispatch id of its 16 bytes."""
    return base64.b32encode(raw).decode("ascii").lower().rstrip("=")
