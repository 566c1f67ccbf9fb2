"""Batches of IMM: what is asked for, and one creation whatever becomes of its answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from dispatcher.config import load
from dispatcher.core.batches import DEFAULT_ROLE, TAG, Batch, BatchAction, BatchQuery, BatchRequest, WrittenBatch
from dispatcher.core.calls import Endpoint
from dispatcher.core.location import Location
from dispatcher.core.outcomes import NotSent, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.errors import (
    ConfigError,
    CredentialsError,
    DispatcherError,
    ExitCode,
    ServiceUnavailableError,
    UsageError,
)
from dispatcher.service.batching import (
    CALLS,
    PAUSES,
    BatchPlan,
    CreatedBatch,
    create_batch,
    endpoint_in,
    plan_batch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.core.outcomes import Outcome
    from dispatcher.core.settings import Settings

CONFIG = """\
buckets: [{name: local, region: cn-x, endpoint: "http://127.0.0.1:8333"}]
rules:
  - {name: a, input: "http://media.oss-cn-hangzhou.aliyuncs.com/in/", workflow: w}
  - {name: b, input: "oss://local/in/", workflow: {id: w, media_url: "oss://media/{key}"}}
"""
IMM = """\
imm:
  project: p1
  actions: [{name: video/convert, parameters: ["TargetURI=oss://media/out/{barename}.mp4"]}]
  notification: {mns_topic: t1}
  tags: {team: x}
"""
OUR_ID = "abcdefghijklmnopqrstuvwxyz"
LOST = Uncertain("no answer in time")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path, CONFIG + IMM)


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return load(path, {})


@dataclass
class Service:
    """A service whose answers are told beforehand; `listings` is what each listing shows, or why it fails."""

    outcomes: list[Outcome]
    listings: list[list[str] | DispatcherError] = field(default_factory=list)
    requests: list[BatchRequest] = field(default_factory=list)
    did: list[str | float] = field(default_factory=list)

    def create(self, request: BatchRequest) -> Outcome:
        self.did.append("create")
        self.requests.append(request)
        return self.outcomes.pop(0)

    def list_batches(self, query: BatchQuery) -> Iterator[Batch]:
        self.did.append("list")
        assert query.tag == (TAG, OUR_ID)
        shown = self.listings.pop(0)
        if isinstance(shown, DispatcherError):
            raise shown
        yield Batch("not-ours", "Running", tags={TAG: "another"})
        yield from (Batch(each, "Ready", tags={TAG: OUR_ID}) for each in shown)

    def run(self, plan: BatchPlan) -> CreatedBatch:
        return create_batch(plan, self, self, self.did.append)


@pytest.fixture
def plan(settings: Settings) -> BatchPlan:
    return plan_batch(settings, "a", None, OUR_ID)


# -- what is asked for ----------------------------------------------------------------------------


def test_a_rule_gives_the_input_and_imm_the_rest(plan: BatchPlan) -> None:
    assert plan.request == BatchRequest(
        Endpoint("cn-hangzhou", "https://imm.cn-hangzhou.aliyuncs.com"),
        "p1",
        Location("media", "in/"),
        (BatchAction("video/convert", ("TargetURI=oss://media/out/{barename}.mp4",)),),
        DEFAULT_ROLE,
        (),
        "t1",
        {"team": "x", TAG: OUR_ID},
    )
    assert plan.problems == ()
    assert any("neither ledger nor budget" in note for note in plan.notes)
    assert any("match_expressions" in note for note in plan.notes)


def test_a_file_replaces_what_imm_says_and_may_go_with_a_rule(settings: Settings) -> None:
    action = BatchAction("doc/convert", ("TargetURI=oss://media/pdf/{barename}.pdf",))
    file = WrittenBatch(
        match_expressions=("*.docx",), project="p2", service_role="r2", actions=(action,), topic="t2", tags={}
    )
    request = plan_batch(settings, "a", file, OUR_ID).request
    assert (request.input, request.match_expressions) == (Location("media", "in/"), ("*.docx",))
    assert (request.project, request.service_role, request.actions) == ("p2", "r2", (action,))
    assert (request.topic, dict(request.tags)) == ("t2", {TAG: OUR_ID})


def test_a_file_alone_needs_no_imm_and_its_url_tells_the_region(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, CONFIG)
    file = WrittenBatch(
        input=Location("elsewhere", "x/"), region="cn-beijing", project="p2", actions=(BatchAction("doc/convert"),)
    )
    request = plan_batch(settings, None, file, OUR_ID).request
    assert request.endpoint == Endpoint("cn-beijing", "https://imm.cn-beijing.aliyuncs.com")
    assert (request.service_role, request.topic) == (DEFAULT_ROLE, None)


def test_a_configured_endpoint_is_taken(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, CONFIG + "imm: {project: p1, endpoint: 'http://127.0.0.1:9'}")
    assert endpoint_in(settings, None) == Endpoint("cn-hangzhou", "http://127.0.0.1:9")
    assert endpoint_in(settings, "cn-beijing").region == "cn-beijing"
    with pytest.raises(UsageError):
        endpoint_in(settings, "evil.example/")


FILE = WrittenBatch(input=Location("media", "x/"))


@pytest.mark.parametrize(
    ("rule", "file", "error", "said"),
    [
        (None, None, UsageError, "which objects"),
        (None, WrittenBatch(project="p"), UsageError, "which objects"),
        ("a", FILE, UsageError, "both say which objects"),
        ("nobody", None, UsageError, "no rule 'nobody'"),
        ("b", None, ConfigError, "OSS only"),
        (None, replace(FILE, input=Location("unknown", "x/")), ConfigError, "region of bucket unknown"),
    ],
)
def test_what_names_no_batch_is_refused(
    settings: Settings, rule: str | None, file: WrittenBatch | None, error: type[DispatcherError], said: str
) -> None:
    with pytest.raises(error, match=said):
        plan_batch(settings, rule, file, OUR_ID)


def test_project_and_actions_have_to_be_said_somewhere(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, CONFIG)
    with pytest.raises(ConfigError, match="no IMM project"):
        plan_batch(settings, "a", None, OUR_ID)
    with pytest.raises(ConfigError, match="no action"):
        plan_batch(settings, "a", WrittenBatch(project="p"), OUR_ID)


# -- one creation ---------------------------------------------------------------------------------


def test_an_answer_is_the_end_of_it(plan: BatchPlan) -> None:
    service = Service([Started("batch-1", "R")])
    assert service.run(plan) == CreatedBatch("batch-1", "R")
    assert service.did == ["create"]
    assert service.requests == [plan.request]


def test_a_lost_answer_is_found_by_its_tag_and_nothing_is_created_again(plan: BatchPlan) -> None:
    service = Service([LOST], [[], ["batch-1"]])
    assert service.run(plan) == CreatedBatch("batch-1", listed=True)
    assert service.did == ["create", PAUSES[0], "list", PAUSES[1], "list"]


def test_only_a_batch_that_every_listing_lacks_is_created_again_with_the_same_tag(plan: BatchPlan) -> None:
    service = Service([LOST, Started("batch-2", "R")], [*[[]] * len(PAUSES), ["batch-2"]])
    assert service.run(plan) == CreatedBatch("batch-2", "R")
    assert service.did[-2:] == ["create", "list"]
    assert [each for each in service.did if isinstance(each, float)] == list(PAUSES)
    assert service.requests == [plan.request] * 2


def test_a_call_that_arrived_after_all_is_told(plan: BatchPlan) -> None:
    service = Service([LOST, Started("batch-2", "R")], [*[[]] * len(PAUSES), ["batch-1", "batch-2"]])
    assert service.run(plan).others == ("batch-1",)


def test_a_listing_that_fails_proves_nothing(plan: BatchPlan) -> None:
    service = Service([LOST], [[], CredentialsError("ListBatches is refused", hint="x")])
    with pytest.raises(DispatcherError) as unsettled:
        service.run(plan)
    assert unsettled.value.exit_code is ExitCode.STOPPED_EARLY
    assert f"batches list --project p1 --tag {TAG}={OUR_ID}" in unsettled.value.hint
    assert service.did.count("create") == 1


def test_calls_that_are_lost_again_and_again_end(plan: BatchPlan) -> None:
    service = Service([LOST] * 9, [[]] * 99)
    with pytest.raises(DispatcherError) as unsettled:
        service.run(plan)
    assert unsettled.value.exit_code is ExitCode.STOPPED_EARLY
    assert service.did.count("create") == CALLS


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Throttled("Throttling.User"), ServiceUnavailableError),
        (NotSent("connection refused"), ServiceUnavailableError),
        (Unauthorized("NoPermission"), CredentialsError),
        (Rejected("InvalidParameter", "Actions"), ConfigError),
    ],
)
def test_a_call_that_made_nothing_is_not_repeated(
    plan: BatchPlan, outcome: Outcome, error: type[DispatcherError]
) -> None:
    service = Service([outcome])
    with pytest.raises(error):
        service.run(plan)
    assert service.did == ["create"]
