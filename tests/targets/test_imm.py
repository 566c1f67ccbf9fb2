"""IMM through the official SDK: every field of its requests as it travels, every end of a call by its kind."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.batches import (
    Batch,
    BatchAction,
    BatchOrder,
    BatchQuery,
    BatchRequest,
    BatchSort,
    BatchState,
    FastFail,
    Project,
)
from dispatcher.core.calls import Endpoint
from dispatcher.core.location import Location
from dispatcher.core.outcomes import NotSent, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.errors import ConfigError, CredentialsError, ServiceUnavailableError
from dispatcher.targets.batches import BatchTarget
from dispatcher.targets.imm import AlibabaBatches
from tests.targets.recorder import Recorder, recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.core.outcomes import Outcome
    from dispatcher.targets.alibaba import AlibabaClients

ACTIONS = (
    BatchAction("video/convert", ("f=mp4", "TargetURI=oss://media/out/é {barename}.mp4"), FastFail.IGNORE),
    BatchAction("video/snapshots", (), FastFail.ABORT),
    BatchAction("doc/convert", ("pages=3",)),
)


@pytest.fixture
def wire() -> Iterator[Recorder]:
    with recorder() as running:
        yield running


@pytest.fixture
def batches(clients: AlibabaClients) -> AlibabaBatches:
    return AlibabaBatches(clients, pause=lambda _: None)


def request_to(endpoint: Endpoint, topic: str | None = None, *expressions: str) -> BatchRequest:
    place = Location("media", "incoming/ü/")
    return BatchRequest(
        endpoint, "p1", place, ACTIONS, "role", expressions, topic, {"oss_dispatcher_id": "i", "team": "a b"}
    )


def test_every_field_of_create_batch_travels_in_the_form(wire: Recorder, clients: AlibabaClients) -> None:
    wire.will_answer({"Id": "batch-1"})
    outcome = BatchTarget(clients).create(request_to(wire.endpoint, "topic-1", "*.mp4", "*.mov"))
    assert outcome == Started("batch-1", "R-1")
    [sent] = wire.sent
    assert (sent.action, sent.query) == ("CreateBatch", {})
    assert (sent.form.pop("ProjectName"), sent.form.pop("ServiceRole")) == ("p1", "role")
    assert {name: json.loads(text) for name, text in sent.form.items()} == {
        "Input": {"OSS": {"Bucket": "media", "Prefix": "incoming/ü/", "MatchExpressions": ["*.mp4", "*.mov"]}},
        "Actions": [
            {
                "Name": "video/convert",
                "Parameters": ["f=mp4", "TargetURI=oss://media/out/é {barename}.mp4"],
                "FastFailPolicy": {"Action": "ignore"},
            },
            {"Name": "video/snapshots", "FastFailPolicy": {"Action": "abort"}},
            {"Name": "doc/convert", "Parameters": ["pages=3"]},
        ],
        "Notification": {"MNS": {"TopicName": "topic-1"}},
        "Tags": {"oss_dispatcher_id": "i", "team": "a b"},
    }


def test_what_is_not_wanted_does_not_travel(wire: Recorder, clients: AlibabaClients) -> None:
    wire.will_answer({"Id": "batch-1"})
    BatchTarget(clients).create(request_to(wire.endpoint))
    [sent] = wire.sent
    assert "Notification" not in sent.form
    assert json.loads(sent.form["Input"]) == {"OSS": {"Bucket": "media", "Prefix": "incoming/ü/"}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {}, Uncertain),
        (500, {"Code": "InternalError"}, Uncertain),
        (400, {"Code": "Throttling.User"}, Throttled),
        (400, {"Code": "InvalidParameter"}, Rejected),
        (404, {"Code": "ResourceNotFound"}, Rejected),
        (403, {"Code": "Forbidden.RAM"}, Unauthorized),
    ],
)
def test_every_end_is_an_outcome_of_one_request(
    wire: Recorder, clients: AlibabaClients, status: int, body: dict[str, str], kind: type[Outcome]
) -> None:
    wire.will_answer(body, status=status)
    assert isinstance(BatchTarget(clients).create(request_to(wire.endpoint)), kind)
    assert len(wire.sent) == 1


def test_a_host_that_refuses_is_not_sent(clients: AlibabaClients) -> None:
    outcome = BatchTarget(clients).create(request_to(Endpoint("cn-hangzhou", "http://127.0.0.1:1")))
    assert outcome == NotSent("connection refused or no route")


def test_without_the_sdk_it_says_what_to_install(
    wire: Recorder, clients: AlibabaClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "alibabacloud_imm20200930.client", None)
    with pytest.raises(ConfigError) as refused:
        BatchTarget(clients).create(request_to(wire.endpoint))
    assert "oss-dispatcher[imm]" in refused.value.hint


def test_every_field_of_list_batches_travels(wire: Recorder, batches: AlibabaBatches) -> None:
    wire.will_answer({"Batches": [], "NextToken": "n=2&"}, {"Batches": []})
    query = BatchQuery(
        wire.endpoint, "p1", BatchState.SUSPENDED, BatchSort.UPDATED, BatchOrder.DES, ("team", "a b"), page_size=9
    )
    assert list(batches.list_batches(query)) == []
    first = {
        "ProjectName": "p1",
        "State": "Suspended",
        "Sort": "UpdateTime",
        "Order": "DES",
        "TagSelector": "team=a b",
        "MaxResults": "9",
    }
    assert [each.action for each in wire.sent] == ["ListBatches"] * 2
    assert [each.query for each in wire.sent] == [first, {**first, "NextToken": "n=2&"}]


def test_a_batch_is_told_whole(wire: Recorder, batches: AlibabaBatches) -> None:
    wire.will_answer(
        {
            "Batch": {
                "Id": "batch-1",
                "State": "Running",
                "Phase": "IncrementalScanning",
                "Marker": "incoming/k",
                "Error": "none",
                "Input": {"OSS": {"Bucket": "media", "Prefix": "incoming/", "MatchExpressions": ["*.mp4"]}},
                "Actions": [{"Name": "a", "Parameters": ["p=1"], "FastFailPolicy": {"Action": "abort"}}],
                "ServiceRole": "role",
                "Notification": {"MNS": {"TopicName": "topic-1"}},
                "Tags": {"team": "x"},
                "Statistic": {"SubmitSuccess": 5, "SubmitFailure": 1, "SkipFiles": 2},
                "CreateTime": "2026-03-01T12:00:00.5Z",
                "UpdateTime": "2026-03-01T12:00:01Z",
            }
        }
    )
    batch = batches.get_batch(wire.endpoint, "p1", "batch-1")
    assert wire.sent[0].query == {"ProjectName": "p1", "Id": "batch-1"}
    assert batch == Batch(
        batch_id="batch-1",
        state="Running",
        phase="IncrementalScanning",
        marker="incoming/k",
        error="none",
        bucket="media",
        prefix="incoming/",
        match_expressions=("*.mp4",),
        actions=(BatchAction("a", ("p=1",), FastFail.ABORT),),
        service_role="role",
        topic="topic-1",
        tags={"team": "x"},
        submitted=5,
        failed=1,
        skipped=2,
        created_at=datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC),
        updated_at=datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC),
    )
    assert not [each.name for each in fields(batch) if getattr(batch, each.name) in (None, ())]


def test_a_batch_of_which_little_is_told_is_still_one(wire: Recorder, batches: AlibabaBatches) -> None:
    wire.will_answer({"Batches": [{"Id": "b", "State": "Ready", "Statistic": {}}]})
    [batch] = batches.list_batches(BatchQuery(wire.endpoint, "p1"))
    assert batch == Batch("b", "Ready")


def test_suspend_and_resume_name_batch_and_project(wire: Recorder, batches: AlibabaBatches) -> None:
    wire.will_answer({})
    batches.suspend(wire.endpoint, "p1", "b1")
    batches.resume(wire.endpoint, "p1", "b1")
    assert [(each.action, each.form) for each in wire.sent] == [
        ("SuspendBatch", {"ProjectName": "p1", "Id": "b1"}),
        ("ResumeBatch", {"ProjectName": "p1", "Id": "b1"}),
    ]


def test_project_and_binding_are_read(wire: Recorder, batches: AlibabaBatches) -> None:
    wire.will_answer({"Project": {"ProjectName": "p1", "ServiceRole": "r"}}, {"ProjectName": "p2"})
    assert batches.get_project(wire.endpoint, "p1") == Project("p1", "r")
    assert batches.bound_project(wire.endpoint, "media") == "p2"
    assert [(each.action, each.query) for each in wire.sent] == [
        ("GetProject", {"ProjectName": "p1"}),
        ("GetOSSBucketAttachment", {"OSSBucket": "media"}),
    ]


def test_what_does_not_exist_is_none(wire: Recorder, batches: AlibabaBatches) -> None:
    wire.will_refuse("ResourceNotFound", 404)
    assert batches.get_batch(wire.endpoint, "p1", "b") is None
    assert batches.get_project(wire.endpoint, "p1") is None
    assert batches.bound_project(wire.endpoint, "media") is None
    with pytest.raises(ServiceUnavailableError, match="ResourceNotFound"):
        list(batches.list_batches(BatchQuery(wire.endpoint, "p1")))


def test_a_missing_permission_is_named_for_imm(wire: Recorder, batches: AlibabaBatches) -> None:
    wire.will_refuse("Forbidden.RAM", 403)
    with pytest.raises(CredentialsError) as refused:
        batches.suspend(wire.endpoint, "p1", "b")
    assert "imm:SuspendBatch" in refused.value.hint
