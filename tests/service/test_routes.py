"""Which calls share a quota, and how reads wait for theirs."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.calls import Api, Endpoint, Stage
from dispatcher.core.ratelimit import Rate
from dispatcher.core.rules import EditingAction, InputType, WorkflowAction
from dispatcher.ledger import rates
from dispatcher.service.permits import ReadPermits
from dispatcher.service.routes import Route, routes, targets_of
from tests.service.fakes import ENDPOINT, OTHER_ENDPOINT, PATIENT, TARGET, make_bucket, make_rule, make_settings

if TYPE_CHECKING:
    from tests.service.conftest import Scene

BEIJING = "default/cn-beijing/StartWorkflow"


def test_rules_of_one_region_share_one_quota() -> None:
    rules = [make_rule("a", bucket="b"), make_rule("b", bucket="b"), make_rule("c", bucket="b2")]
    buckets = {"b": make_bucket("b"), "b2": make_bucket("b2", OTHER_ENDPOINT)}
    settings = make_settings(*rules, buckets=buckets, rates=dict.fromkeys(Api, Rate(7)))
    assert routes(settings) == (
        Route(TARGET, ENDPOINT, Api.START_WORKFLOW, Stage.ONLY, Rate(7), ("a", "b")),
        Route(BEIJING, OTHER_ENDPOINT, Api.START_WORKFLOW, Stage.ONLY, Rate(7), ("c",)),
    )
    assert [targets_of(settings, rule) for rule in rules] == [(TARGET,), (TARGET,), (BEIJING,)]


def test_each_call_that_a_rule_needs_has_its_own_quota() -> None:
    media = make_rule("m", action=WorkflowAction("wf", input_type=InputType.MEDIA))
    edit = make_rule("e", action=EditingAction({"MediaURL": "http://out/{stem}.mp4"}, timeline={}))
    settings = make_settings(make_rule("w"), media, edit, rates={api: Rate(n) for n, api in enumerate(Api, 1)})
    found = {(route.api, route.stage): (route.target, route.rules) for route in routes(settings)}
    register, submit = (f"default/cn-hangzhou/{name}" for name in ("RegisterMediaInfo", "SubmitMediaProducingJob"))
    assert found == {
        (Api.START_WORKFLOW, Stage.ONLY): (TARGET, ("w",)),
        (Api.REGISTER_MEDIA_INFO, Stage.REGISTER): (register, ("m",)),
        (Api.START_WORKFLOW, Stage.START): (TARGET, ("m",)),
        (Api.SUBMIT_MEDIA_PRODUCING_JOB, Stage.ONLY): (submit, ("e",)),
    }
    assert all(route.rate == settings.rates[route.api] for route in routes(settings))
    assert targets_of(settings, media) == (register, TARGET)


def test_two_endpoints_of_one_region_share_its_quota() -> None:
    inside = Endpoint("cn-hangzhou", "https://ice-vpc.cn-hangzhou.aliyuncs.com")
    buckets = {"b": make_bucket("b"), "b2": make_bucket("b2", inside)}
    settings = make_settings(make_rule("a", bucket="b"), make_rule("c", bucket="b2"), buckets=buckets)
    assert [(route.target, route.endpoint) for route in routes(settings)] == [(TARGET, ENDPOINT), (TARGET, inside)]


class MovingStop(threading.Event):
    """A stop event whose wait moves the scene's clock instead of waiting."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene = scene
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.scene.clock.now += timedelta(seconds=timeout)
        return self.is_set()


def test_reads_wait_for_a_permit_of_their_own(scene: Scene) -> None:
    stop = MovingStop(scene)
    permits = ReadPermits(scene.ledger, dict.fromkeys(Api, Rate(10)), scene.clock, stop)
    begun = scene.clock()
    for _ in range(21):
        permits(ENDPOINT, Api.LIST_WORKFLOW_TASKS)
    assert timedelta(seconds=1.99) <= scene.clock() - begun <= timedelta(seconds=2.1)
    before = len(stop.waits)
    permits(ENDPOINT, Api.GET_WORKFLOW_TASK)
    permits(OTHER_ENDPOINT, Api.LIST_WORKFLOW_TASKS)
    assert len(stop.waits) == before, "each API in each region has its own quota"
    with scene.ledger.read() as tx:
        assert not rates.wait(tx, TARGET, Rate(10), scene.clock()), "reads take nothing from the calls"


def test_leaving_does_not_wait_for_a_permit(scene: Scene) -> None:
    permits = ReadPermits(scene.ledger, dict.fromkeys(Api, Rate(1 / 3600)), scene.clock, scene.stop)
    permits(ENDPOINT, Api.LIST_WORKFLOW_TASKS)
    waiter = threading.Thread(target=permits, args=(ENDPOINT, Api.LIST_WORKFLOW_TASKS))
    waiter.start()
    scene.stop.set()
    waiter.join(PATIENT)
    assert not waiter.is_alive()
