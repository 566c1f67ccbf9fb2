"""A body in quarantine as JSON."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from dispatcher.core.documents import Json, rfc3339

if TYPE_CHECKING:
    from dispatcher.ledger.quarantine import Quarantined


def quarantined_json(each: Quarantined, *, whole: bool) -> dict[str, Json]:
    """Return what is known of a body; `whole` adds its bytes."""
    found: dict[str, Json] = {
        "number": each.number,
        "source": each.source,
        "format": each.format,
        "reason": each.reason,
        "times": each.times,
        "bytes": len(each.body),
        "first_seen_at": rfc3339(each.first_seen_at),
        "last_seen_at": rfc3339(each.last_seen_at),
    }
    return {**found, "body_base64": base64.b64encode(each.body).decode()} if whole else found
