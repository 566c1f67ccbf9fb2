"""A process that receives until it is killed: `python -m tests.sources.station_process NAME ARGUMENTS LEDGER`."""

from __future__ import annotations

import json
import sys
import threading

from dispatcher.ledger.engine import Ledger
from tests.sources.stations import OPENERS, make_intake


def main(name: str, arguments: str, url: str) -> None:
    """Bring what there is into the ledger; a crash point in the environment ends this process."""
    ledger = Ledger.open(url)
    intake = make_intake(ledger)
    for batch in OPENERS[name](ledger, **json.loads(arguments)).batches(threading.Event()):
        intake.take(batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
