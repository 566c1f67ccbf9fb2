"""What one client may cost the public listener: bytes, seconds, connections, requests."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.ratelimit import Rate, RateState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_REMEMBERED_CLIENTS = 4096
_IPV6_NETWORK = 64
_PER_CLIENT = Rate(1000)


@dataclass(frozen=True, slots=True)
class WebLimits:
    """The limits of a listener. Times are seconds, sizes bytes.

    `head_within` and `body_within` bound how long a request line with its headers, and a body, may
    take to arrive; `idle` how long a connection may rest between requests. `concurrent` requests
    are read or committed at once, `commits` of them in the ledger. `per_client` is the rate of one
    address (one /64 network of IPv6).
    """

    body_bytes: int = 1 << 20
    head_bytes: int = 16 << 10
    head_within: float = 10.0
    body_within: float = 10.0
    idle: int = 30
    linger: float = 1.0
    connections: int = 512
    concurrent: int = 64
    commits: int = 8
    per_client: Rate = _PER_CLIENT


class ClientRates:
    """The rate of each client, for the most recent thousands of them. One thread (the event loop's)."""

    def __init__(self, rate: Rate, clock: Callable[[], datetime]) -> None:
        self._rate = rate
        self._clock = clock
        self._states: OrderedDict[str, RateState] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Count one request of an address; tell whether it is within the rate."""
        name = _network(client)
        now = self._clock()
        # A new client has its whole burst saved up.
        before = self._states.pop(name, None) or RateState(next_at=now - timedelta(seconds=1))
        granted, state = before.take(self._rate, 1, now)
        self._states[name] = state
        if len(self._states) > _REMEMBERED_CLIENTS:
            self._states.popitem(last=False)
        return granted > 0


def _network(client: str) -> str:
    """Return what counts as one client: an IPv4 address, or the network that an IPv6 host chooses from."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return client
    mapped = address.ipv4_mapped
    return str(mapped or ipaddress.ip_network((int(address), _IPV6_NETWORK), strict=False))
