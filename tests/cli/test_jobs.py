"""`jobs` against the simulator: all pages, every filter, our rows beside them, and configurations as JSON."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.cli.ledgers import now
from dispatcher.config import load
from dispatcher.core.dispatch import attempt_token, content_identity, dispatch_id
from dispatcher.ledger import recording
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.recording import NewDispatch
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import QuickJob
from dispatcher.targets.alibaba import AlibabaClients
from tests.cli.desk import HOSTILE, Shell
from tests.simulator_fixtures import ACCESS_KEY_ID, ACCESS_KEY_SECRET, CREDENTIALS, endpoint_of, make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = QuickJob(
    "q0",
    "Script",
    "Finished",
    START,
    input_config='{"MediaGroupArray": ["m"]}',
    editing_config="{}",
    output_config='{"Count": 2}',
    extend="plain text",
    user_data='{"NotifyAddress": "https://cb.example.com/ims"}',
)
QUICK_JOBS = (
    QUICK,
    replace(QUICK, job_id="q1", job_type="Smart_Mix", created_at=START + timedelta(days=1)),
    replace(QUICK, job_id="q2", status="Failed", created_at=START + timedelta(days=2)),
)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = now()

    def __call__(self) -> datetime:
        return self.now


class Place:
    """A simulator, the command line on it, and calls of our own."""

    def __init__(self, folder: Path, simulator: Simulator, clock: Clock) -> None:
        self.simulator = simulator
        self.clock = clock
        self.config = folder / "oss-dispatcher.yaml"
        self.config.write_text(
            json.dumps(
                {
                    "rules": [
                        {"name": "a", "input": "http://media.oss-cn-hangzhou.aliyuncs.com/incoming/", "workflow": "w"}
                    ],
                    "ims": {"endpoint": simulator.url},
                    "credentials": {
                        "type": "access_key",
                        "access_key_id": ACCESS_KEY_ID,
                        "access_key_secret": ACCESS_KEY_SECRET.value,
                    },
                }
            ),
            "utf-8",
        )
        self.shell = Shell(self.config)

    def submit(self, name: str, user_data: str = "{}", ago: timedelta = timedelta()) -> str:
        """Submit an editing job through the SDK, some time ago; return its id."""
        from alibabacloud_ice20201109 import models  # noqa: PLC0415 - heavy

        self.clock.now = now() - ago
        with closing(AlibabaClients(CREDENTIALS, call_timeout=timedelta(seconds=10))) as clients:
            answer = clients.client(endpoint_of(self.simulator)).submit_media_producing_job(
                models.SubmitMediaProducingJobRequest(
                    template_id="t1",
                    clips_param='{"Media": "m1"}',
                    output_media_config=json.dumps(
                        {"MediaURL": f"https://media.oss-cn-hangzhou.aliyuncs.com/out/{name}.mp4"}
                    ),
                    user_data=user_data,
                )
            )
        self.clock.now = now()
        return str(answer.body.job_id)

    def listed(self, *words: str) -> list[dict[str, Any]]:
        found = self.shell("jobs", "list", *words, "-o", "json").data
        assert isinstance(found, list)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    clock = Clock()
    with Simulator(make_settings(quick_jobs=QUICK_JOBS), clock=clock) as simulator:
        yield Place(tmp_path, simulator, clock)


def test_editing_jobs_of_the_last_30_days_are_listed_newest_first(place: Place) -> None:
    old = place.submit("old", ago=timedelta(days=40))
    first, second = place.submit("a", ago=timedelta(days=2)), place.submit("b", ago=timedelta(days=1))
    assert [job["job_id"] for job in place.listed()] == [second, first]
    assert [job["job_id"] for job in place.listed("--sort", "asc")] == [first, second]
    assert [job["job_id"] for job in place.listed("--since", "70d", "--page-size", "1")] == [second, first, old]
    assert [job["job_id"] for job in place.listed("--since", "70d", "--sort", "asc")] == [old, first, second]
    assert [job["job_id"] for job in place.listed("--since", "70d", "--until", "30d")] == [old]
    assert [job["job_id"] for job in place.listed("--limit", "1")] == [second]
    assert place.listed("--status", "failed") == []
    assert [job["job_id"] for job in place.listed("--keyword", first)] == [first]


def test_70_days_are_three_requests_none_longer_than_30_days(place: Place) -> None:
    place.listed("--since", "70d")
    asked = [call.query for call in place.simulator.wire("ListMediaProducingJobs")]
    bounds = [(datetime.fromisoformat(each["StartTime"]), datetime.fromisoformat(each["EndTime"])) for each in asked]
    assert len(bounds) == 3
    assert all(end - start <= timedelta(days=30) for start, end in bounds)
    assert bounds[0][0] == bounds[1][1]


def test_a_job_is_shown_with_its_texts_parsed(place: Place) -> None:
    job = place.submit("a", '{"NotifyAddress": "https://cb.example.com/x"}')
    shown = place.shell("jobs", "show", job, "-o", "json").data
    assert (shown["job_id"], shown["status"], shown["region"]) == (job, "Success", "cn-hangzhou")
    assert shown["user_data"] == {"NotifyAddress": "https://cb.example.com/x"}
    assert shown["clips_param"] == {"Media": "m1"}
    assert shown["template_id"] == "t1"
    assert shown["created_at"].endswith("Z")
    assert (shown["dispatch_id"], shown["dispatch"]) == (None, None)
    assert '"NotifyAddress"' in place.shell("jobs", "show", job).out
    assert job in place.shell("jobs", "list").out


def test_jobs_carry_our_rows_where_the_ledger_has_them(place: Place) -> None:
    ours = dispatch_id("a", "media", HOSTILE, content_identity("e", 1))
    lost = dispatch_id("a", "media", "incoming/lost.mp4", content_identity("e", 1))
    with closing(Ledger.open(load(place.config, {}).ledger.url)) as ledger, ledger.write() as tx:
        recording.record(tx, [NewDispatch(ours, "a", "media", HOSTILE, "e", 1, "", "poll", None)], now())
    jobs = {
        each: place.submit(str(at), json.dumps({"DispatchId": attempt_token(each, 1)}))
        for at, each in enumerate((ours, lost))
    }
    found = {job["job_id"]: job for job in place.listed()}
    row = found[jobs[ours]]["dispatch"]
    assert (row["dispatch_id"], row["rule"], row["key"], row["state"]) == (ours, "a", HOSTILE, "pending")
    assert (found[jobs[lost]]["dispatch_id"], found[jobs[lost]]["dispatch"]) == (lost, None)
    table = place.shell("jobs", "list").out
    assert "\x1b" not in table
    assert "fdp.mp4" in table


def test_without_a_ledger_none_is_made(place: Place) -> None:
    job = place.submit("a")
    assert place.shell("jobs", "show", job, "-o", "json").data["dispatch"] is None
    assert list(place.config.parent.glob("*.db")) == []


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ((), ["q2", "q1", "q0"]),
        (("--page-size", "1"), ["q2", "q1", "q0"]),
        (("--sort", "asc"), ["q0", "q1", "q2"]),
        (("--limit", "2"), ["q2", "q1"]),
        (("--type", "Smart_Mix"), ["q1"]),
        (("--status", "Failed"), ["q2"]),
        (("--state", "finished"), ["q1", "q0"]),
        (("--id", "q0"), ["q0"]),
        (("--since", "2026-01-02", "--until", "2026-01-02T12:00:00+08:00"), ["q1"]),
    ],
)
def test_quick_jobs_by_every_filter(place: Place, words: tuple[str, ...], ids: list[str]) -> None:
    assert [job["job_id"] for job in place.listed("--quick", *words)] == ids


def test_a_quick_job_is_shown_with_its_configurations_parsed(place: Place) -> None:
    shown = place.shell("jobs", "show", "q0", "--quick", "-o", "json").data
    assert shown["input_config"] == {"MediaGroupArray": ["m"]}
    assert shown["editing_config"] == {}
    assert shown["output_config"] == {"Count": 2}
    assert shown["extend"] == "plain text"
    assert shown["user_data"] == {"NotifyAddress": "https://cb.example.com/ims"}
    assert shown == next(job for job in place.listed("--quick") if job["job_id"] == "q0")
    assert "MediaGroupArray" in place.shell("jobs", "show", "q0", "--quick").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--status", "Finished"), "Init, Processing, Success, Failed"),
        (("--quick", "--status", "Success"), "Init, Processing, Finished, Failed"),
        (("--type", "Script"), "EditingJob, LiveEditingJob, VETemplateJob"),
        (("--quick", "--type", "EditingJob"), "Script, Smart_Mix"),
        (("--sort", "random"), "asc"),
        (("--page-size", "0"), "greater than or equal to 1"),
        (("--page-size", "101"), "less than or equal to 100"),
        (("--since", "yesterday"), "not a time"),
        (("--since", "1d", "--until", "2d"), "earlier than"),
        (("--quick", "--since", "1d", "--until", "2d"), "earlier than"),
        (("--quick", "--keyword", "x"), "means nothing with --quick"),
        (("--id", "x"), "means nothing without --quick"),
        (("--region", "cn-nowhere"), "cn-hangzhou"),
    ],
)
def test_bad_values_are_refused_before_any_call(place: Place, words: tuple[str, ...], said: str) -> None:
    ran = place.shell("jobs", "list", *words)
    assert ran.code == 2
    assert said in ran.err
    assert place.simulator.requests == 0


@pytest.mark.parametrize("words", [("x" * 32,), ("q9", "--quick")])
def test_a_job_that_nobody_knows_is_told(place: Place, words: tuple[str, ...]) -> None:
    ran = place.shell("jobs", "show", *words)
    assert ran.code == 2
    assert "knows no job" in ran.err
