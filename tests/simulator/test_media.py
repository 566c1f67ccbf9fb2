"""Media assets through the official SDK: one for each URL, tokens, limits, and workflows that name them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alibabacloud_ice20201109 import models

from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedMedia
from tests.simulator.desk import refused
from tests.simulator_fixtures import make_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.desk import Clock, Connect, Sdks

URL = "oss://media/incoming/é a.mp4"
TOKEN = "0123456789abcdef0123456789abcdef"


def register(service: Sdks, **fields: Any) -> str:
    request = models.RegisterMediaInfoRequest(**({"input_url": URL} | fields))
    return str(service.ice.register_media_info(request).body.media_id)


def info(service: Sdks, **fields: Any) -> Any:
    return service.ice.get_media_info(models.GetMediaInfoRequest(**fields)).body.media_info


def start(service: Sdks, media_id: str) -> None:
    task_input = json.dumps({"Type": "Media", "Media": media_id})
    service.ice.start_workflow(models.StartWorkflowRequest(workflow_id="w1", task_input=task_input))


def test_an_asset_is_found_by_its_id_and_by_every_url_of_its_object(service: Sdks) -> None:
    media_id = register(service, title="t", user_data='{"a":1}', reference_id="ref-01", cate_id=4)
    basic = info(service, media_id=media_id).media_basic_info
    assert (basic.input_url, basic.title, basic.user_data, basic.reference_id) == (URL, "t", '{"a":1}', "ref-01")
    assert (basic.media_type, basic.cate_id, basic.status) == ("video", 4, "Normal")
    https = "https://media.oss-cn-hangzhou.aliyuncs.com/incoming/é a.mp4"
    assert info(service, input_url=https).media_id == media_id
    assert info(service, media_id=media_id, input_url="oss://media/other.mp4").media_id == media_id


def test_a_registered_url_is_refused_unless_it_is_overwritten(service: Sdks) -> None:
    first = register(service)
    with refused(409, "MediaAlreadyExist"):
        register(service, input_url="http://media.oss-cn-hangzhou.aliyuncs.com/incoming/é a.mp4")
    second = register(service, overwrite=True)
    assert info(service, input_url=URL).media_id == second != first
    with refused(404, "InvalidMedia.NotFound"):
        info(service, media_id=first)
    register(service, input_url="oss://other/incoming/é a.mp4")
    assert len(service.simulator.accepted("RegisterMediaInfo")) == 3


def test_a_repeated_token_is_the_same_asset(service: Sdks, clock: Clock) -> None:
    first = register(service, client_token=TOKEN)
    assert register(service, client_token=TOKEN) == first
    assert [each.repeat for each in service.simulator.accepted()] == [False, True]
    with refused(400, "IdempotentParameterMismatch"):
        register(service, client_token=TOKEN, title="other")
    clock.now += timedelta(minutes=10)
    with refused(409, "MediaAlreadyExist"):
        register(service, client_token=TOKEN)


def test_what_is_not_registered_is_not_found(service: Sdks) -> None:
    with refused(404, "NoMatchedInputUrl"):
        info(service, input_url=URL)
    with refused(404, "InvalidMedia.NotFound", "m1"):
        info(service, media_id="m1")
    with refused(400, "MissingParameter", "InputURL"):
        info(service)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"input_url": "vod://20b48fb04483915d4f2cd8ac"}, {"input_url": "ftp://media/a.mp4"}),
        ({"input_url": "oss://media/a"}, {"input_url": "oss://media"}),
        ({"client_token": TOKEN.upper()}, {"client_token": TOKEN[:-1]}),
        ({"client_token": TOKEN}, {"client_token": TOKEN[:-1] + "g"}),
        ({"title": "é" * 64}, {"title": "é" * 64 + "x"}),
        ({"description": "x" * 1024}, {"description": "x" * 1025}),
        ({"cover_url": "x" * 128}, {"cover_url": "x" * 129}),
        ({"media_tags": ",".join(["x" * 32] * 16)}, {"media_tags": ",".join(["x"] * 17)}),
        ({"media_tags": "x" * 32}, {"media_tags": "x" * 33}),
        ({"user_data": json.dumps({"x": "a" * 1015})}, {"user_data": json.dumps({"x": "a" * 1016})}),
        ({"user_data": "{}"}, {"user_data": "text"}),
        ({"reference_id": "aZ_-09"}, {"reference_id": "short"}),
        ({"reference_id": "x" * 64}, {"reference_id": "x" * 65}),
        ({"reference_id": "abcdef"}, {"reference_id": "abc/def"}),
        ({"media_type": "text", "business_type": "font"}, {"media_type": "text", "business_type": "general"}),
        ({"media_type": "audio"}, {"media_type": "film"}),
        ({"business_type": "opening"}, {"business_type": "closing"}),
        ({"register_config": '{"NeedSnapshot":"false"}'}, {"register_config": "[]"}),
        ({"cate_id": 0}, {"cate_id": -1}),
    ],
)
def test_documented_limits_hold_on_both_sides(service: Sdks, good: dict[str, Any], bad: dict[str, Any]) -> None:
    with refused(400, "InvalidParameter"):
        register(service, **bad)
    assert register(service, **good)


def test_a_reference_id_is_unique(service: Sdks) -> None:
    register(service, reference_id="ref-01")
    with refused(409, "ReferenceIdAlreadyExist"):
        register(service, input_url="oss://media/other.mp4", reference_id="ref-01")
    register(service, reference_id="ref-01", overwrite=True)


@pytest.mark.parametrize(("key", "kind"), [("a.MP3", "audio"), ("a.mp4", "video"), ("a.jpg", "image"), ("a", "image")])
def test_the_type_follows_from_the_extension(service: Sdks, key: str, kind: str) -> None:
    media_id = register(service, input_url=f"oss://media/{key}")
    assert info(service, media_id=media_id).media_basic_info.media_type == kind


def test_a_registration_takes_its_time(clock: Clock, connect: Connect) -> None:
    with Simulator(make_settings(registration_duration=timedelta(seconds=3)), clock=clock) as running:
        service = connect(running)
        media_id = register(service)
        before = info(service, media_id=media_id)
        clock.now += timedelta(seconds=3)
        after = info(service, media_id=media_id)
    assert (before.media_basic_info.status, before.file_info_list) == ("Preparing", [])
    assert [each.file_basic_info.file_name for each in after.file_info_list] == ["é a.mp4"]


def test_a_workflow_takes_the_account_s_media_once_it_has_some(service: Sdks) -> None:
    start(service, "unheard-of")
    media_id = register(service)
    start(service, media_id)
    with refused(404, "InvalidMedia.NotFound", "unheard-of"):
        start(service, "unheard-of")
    register(service, overwrite=True)
    with refused(404, "InvalidMedia.NotFound"):
        start(service, media_id)
    assert [json.loads(each.task_input)["Media"] for each in service.simulator.calls()] == ["unheard-of", media_id]


def test_media_of_the_settings_are_there_and_a_restart_knows_the_others(
    tmp_path: Path, clock: Clock, connect: Connect
) -> None:
    settings = make_settings(media=(SimulatedMedia("m-seed", "oss://media/seed.mp4"),))
    path = tmp_path / "journal.jsonl"
    with Simulator(settings, clock=clock, journal_path=path) as running:
        registered = register(connect(running))
    with Simulator(settings, clock=clock, journal_path=path) as running:
        service = connect(running)
        assert info(service, input_url=URL).media_id == registered
        assert info(service, input_url="oss://media/seed.mp4").media_id == "m-seed"
        with refused(409, "MediaAlreadyExist"):
            register(service)
