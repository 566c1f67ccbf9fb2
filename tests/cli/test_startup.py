"""`--help`, `check` and `explain` answer at once: they load nothing of the cloud or of the ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.desk import Shell

HEAVY = ("boto3", "botocore", "sqlalchemy", "alembic", "urllib3", "requests", "Tea", "darabonba", "structlog", "moto")
PROBE = """
import json, sys
from dispatcher.cli.main import main
try:
    main()
except SystemExit as left:
    print(json.dumps([left.code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["dispatches", "--help"],
        ["check"],
        ["check", "-o", "json"],
        ["explain", "oss://my-media/incoming/clips/x.mp4"],
        ["explain", "incoming/clips/x.mp4", "-o", "json"],
        ["config", "schema"],
        ["config", "policy"],
    ],
)
def test_a_quick_command_loads_nothing_heavy(shell: Shell, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "-c", str(shell.config), *words], capture_output=True, text=True, check=False
    )
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert [name for name in loaded if name in HEAVY or name.startswith("alibabacloud")] == []
