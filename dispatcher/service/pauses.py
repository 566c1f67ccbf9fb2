"""Telling that calls to a target stand still, and that they go on: one line for each turn, not one for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    from dispatcher.core.outcomes import TargetHealth

_REFUSED = (
    "check `credentials:`, the permissions (`oss-dispatcher check --online` names what is missing) and the account's"
    " balance; nothing is lost, one trial call goes every 30 seconds"
)
_AWAY = (
    "check ims.endpoint, the network, and whether the service works; nothing is lost, one trial call goes every"
    " 30 seconds"
)


class Pauses:
    """Remembers what this process has told of each target. One thread."""

    def __init__(self) -> None:
        self._told: dict[str, bool] = {}

    def tell(self, target: str, health: TargetHealth) -> None:
        """Log a pause that begins or changes its kind, and its end; anything else is no news."""
        if health.paused_since is None:
            if self._told.pop(target, None) is not None:
                get_logger().info("target.resumed", target=target)
        elif self._told.get(target) is not health.unauthorized:
            self._told[target] = health.unauthorized
            hint = _REFUSED if health.unauthorized else _AWAY
            get_logger().error("target.paused", target=target, cause=health.pause_reason, hint=hint)
