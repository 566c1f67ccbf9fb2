"""Parameters as the documentation states them: bounds, filters, pages, quotas."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.simulator.account import Account
from dispatcher.simulator.actions.workflow import get_task, list_tasks, read_start
from dispatcher.simulator.journal import JournalEntry
from dispatcher.simulator.quotas import CallQuota
from dispatcher.simulator.settings import SimulatedWorkflow
from dispatcher.simulator.signature import Refused
from tests.simulator_fixtures import make_settings

if TYPE_CHECKING:
    from dispatcher.simulator.actions.parameters import Parameters
    from dispatcher.simulator.settings import SimulatorSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = make_settings(
    workflows=(SimulatedWorkflow("w1", name="one", inputs=("oss://media/in/", "oss://other")), SimulatedWorkflow("w2"))
)


def book_of(*starts: tuple[str, str, timedelta], settings: SimulatorSettings = SETTINGS) -> Account:
    """An account of tasks (workflow id, key, age); the id of each is its key."""
    book = Account(settings, None, NOW)
    for workflow_id, key, age in starts:
        task_input = json.dumps({"Type": "OSS", "Media": f"oss://media/{key}"})
        book.add(JournalEntry(NOW - age, key, workflow_id, task_input, "", "r"))
    return book


def listed(book: Account, parameters: Parameters) -> list[str]:
    tasks = list_tasks(parameters, book, NOW)["TaskList"]
    assert isinstance(tasks, list)
    return [task["TaskId"] for task in tasks]


ACCOUNT = book_of()
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BOOK = book_of(("w1", "old", 91 * DAY), ("w1", "a", DAY), ("w2", "b", MINUTE), ("w1", "c", timedelta()))


@pytest.mark.parametrize(
    ("parameters", "tasks"),
    [
        ({}, ["c", "b", "a"]),
        ({"WorkflowId": "w1"}, ["c", "a"]),
        ({"WorkflowName": "one"}, ["c", "a"]),
        ({"WorkflowId": "unknown"}, []),
        ({"KeyText": "media/b"}, ["b"]),
        ({"StartOfCreateTime": "2026-03-01T11:59:00Z"}, ["c", "b"]),
        ({"EndOfCreateTime": "2026-03-01T11:59:00Z"}, ["b", "a"]),
        ({"MaxResults": "2"}, ["c", "b"]),
        ({"MaxResults": "2", "NextToken": "3"}, ["b", "a"]),
    ],
)
def test_listings_filter(parameters: Parameters, tasks: list[str]) -> None:
    assert listed(BOOK, parameters) == tasks


@pytest.mark.parametrize(
    "parameters",
    [
        {"KeyText": "x" * 33},
        {"MaxResults": "0"},
        {"MaxResults": "101"},
        {"MaxResults": "ten"},
        {"NextToken": "x"},
        {"StartOfCreateTime": "2025-11-30T00:00:00Z"},
        {"StartOfCreateTime": "2026-03-01"},
        {"StartOfCreateTime": "2026-03-01T12:00:00Z", "EndOfCreateTime": "2026-03-01T11:00:00Z"},
    ],
)
def test_listings_refuse(parameters: Parameters) -> None:
    with pytest.raises(Refused) as refused:
        list_tasks(parameters, BOOK, NOW)
    assert (refused.value.status, refused.value.code) == (400, "InvalidParameter")


def test_pages_of_ten_follow_their_tokens_to_the_end() -> None:
    book = book_of(*(("w1", f"{n:02}", timedelta()) for n in range(30)))
    seen: list[str] = []
    token = ""
    pages = 0
    while pages == 0 or token:
        seen += listed(book, {"NextToken": token})
        token = str(list_tasks({"NextToken": token}, book, NOW)["NextToken"])
        pages += 1
    assert seen == [f"{n:02}" for n in range(29, -1, -1)]
    assert pages == 3


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(Refused, match=r"InvalidTaskId\.NotFound"):
        get_task({"TaskId": "nothing"}, BOOK, NOW)


@pytest.mark.parametrize(
    ("media", "passes"),
    [
        ("oss://media/in/a.mp4", True),
        ("http://media.oss-cn-hangzhou.aliyuncs.com/in/a.mp4", True),
        ("oss://media.oss-cn-hangzhou.aliyuncs.com/in/a.mp4", True),
        ("oss://other/anything", True),
        ("oss://media/out/a.mp4", False),
        ("oss://otherwise/a.mp4", False),
    ],
)
def test_an_input_path_is_verified_unless_that_is_skipped(media: str, passes: bool) -> None:
    parameters = {"WorkflowId": "w1", "TaskInput": json.dumps({"Type": "OSS", "Media": media})}
    assert read_start(parameters | {"SkipInputVerification": "True"}, ACCOUNT).skip
    if passes:
        assert not read_start(parameters, ACCOUNT).skip
    else:
        with pytest.raises(Refused, match=r"InvalidParameter\.InputPath"):
            read_start(parameters, ACCOUNT)


@pytest.mark.parametrize(
    "user_data", [json.dumps({"x": "a" * 600}), json.dumps({"x": "é" * 252}, ensure_ascii=False), "[1]", "{", "text"]
)
def test_user_data_is_a_json_object_of_at_most_512_bytes(user_data: str) -> None:
    parameters = {"WorkflowId": "w2", "TaskInput": '{"Type":"Media","Media":"m1"}', "UserData": user_data}
    with pytest.raises(Refused, match="InvalidParameter"):
        read_start(parameters, ACCOUNT)


def test_user_data_of_512_bytes_passes() -> None:
    user_data = json.dumps({"x": "a" * (512 - len('{"x": ""}'))})
    parameters = {"WorkflowId": "w2", "TaskInput": '{"Type":"Media","Media":"m1"}', "UserData": user_data}
    assert len(read_start(parameters, ACCOUNT).user_data.encode()) == 512


def test_a_quota_holds_in_every_second_and_frees_itself() -> None:
    quota = CallQuota(3)
    assert [quota.take(NOW) for _ in range(4)] == [True, True, True, False]
    assert not quota.take(NOW + timedelta(milliseconds=999))
    assert quota.take(NOW + timedelta(seconds=1))
    assert all(CallQuota(None).take(NOW) for _ in range(100))
