"""The listeners of a daemon: the operator's, which is always wanted, and the public one of the webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.errors import ServiceUnavailableError
from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    from dispatcher.web.server import WebServer
    from dispatcher.web.webhooks import Webhooks


@dataclass(frozen=True)
class Listener:
    """`operator` is None where both share one listener, which then is the public one.

    `needed`: the operator's address was chosen by somebody, who will miss it.
    """

    operator: WebServer | None
    needed: bool = True
    public: WebServer | None = None
    webhooks: Webhooks | None = None

    def start(self) -> None:
        """Listen. Raises ServiceUnavailableError if an address that is needed cannot be taken.

        A default address that is taken is done without: a second daemon of a machine works all the same.
        """
        if self.public is not None:
            self.public.start()
        if self.operator is None:
            return
        try:
            self.operator.start()
        except ServiceUnavailableError as error:
            if self.needed:
                self.stop()
                raise
            get_logger().warning(
                "listener.absent",
                error=error.message,
                hint="it goes on without health and status over HTTP; write http: {listen: 127.0.0.1:PORT}",
            )
        else:
            get_logger().info("listener.open", address=str(self.operator.address))

    def refuse(self) -> None:
        """Take no notifications any more, let what is being committed end. Idempotent."""
        if self.public is not None:
            self.public.stop()
        if self.webhooks is not None:
            self.webhooks.close()

    def stop(self) -> None:
        """End all listeners. Idempotent."""
        self.refuse()
        if self.operator is not None:
            self.operator.stop()
