"""What a completion callback names, however it is written, and how it is signed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.callbacks import callback_signature, named_task
from dispatcher.core.calls import Api, TaskHint

ID = "a" * 26
TASK, JOB = Api.START_WORKFLOW, Api.SUBMIT_MEDIA_PRODUCING_JOB


def event(kind: str, message: Any, **more: Any) -> bytes:
    return json.dumps({"EventType": kind, "UserId": 1, "MessageBody": message} | more).encode()


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (event("WorkflowTaskComplete", {"TaskId": "t1", "Status": "Succeed"}), TaskHint(TASK, "t1")),
        (event("WorkflowTaskComplete", json.dumps({"TaskId": "t1"})), TaskHint(TASK, "t1")),
        (json.dumps({"EventType": "WorkflowTaskComplete", "TaskId": "t1"}).encode(), TaskHint(TASK, "t1")),
        (event("ProduceMediaComplete", {"JobId": "j1", "MediaId": "m"}), TaskHint(JOB, "j1")),
        (
            event("ProduceMediaComplete", {"JobId": "j1", "UserData": json.dumps({"DispatchId": f"{ID}.2"})}),
            TaskHint(JOB, "j1", (ID, 2)),
        ),
        (event("ProduceMediaComplete", {"JobId": "j1", "UserData": "{}"}), TaskHint(JOB, "j1")),
        (event("X", {}), None),
        (event("X", {"TaskId": 7}), None),
        (event("X", {"TaskId": ""}), None),
        (event("X", {"TaskId": "x" * 129}), None),
        (event("X", {"TaskId": "é"}), None),
        (event("X", "[1]"), None),
        (event("X", ["TaskId"]), None),
        (b"[" * 100_000, None),
        (b"\xff\xfe", None),
        (b"null", None),
    ],
)
def test_a_callback_names_a_task_or_nothing(body: bytes, hint: TaskHint | None) -> None:
    assert named_task(body) == hint


@given(st.binary())
def test_no_body_is_a_defect(body: bytes) -> None:
    named_task(body)


def test_the_signature_is_the_md5_of_address_time_and_key() -> None:
    signed = callback_signature("https://www.example.com/your/callback", "1519375990", "Test123")
    assert signed == "c587b80d2d0ede300e8967937da7219b"
