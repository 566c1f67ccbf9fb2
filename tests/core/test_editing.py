"""Editing jobs: what is sent for an object, and every documented limit, on both sides, before it is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.calls import EditingCall, Endpoint, RegisterCall, WorkflowCall
from dispatcher.core.dispatch import StateReason
from dispatcher.core.editing import BITRATE, SHORTER_SIDE, SIDE, TRACKS, broken_limits, resolved
from dispatcher.core.events import decode_key, encode_key
from dispatcher.core.extensions import ANY
from dispatcher.core.location import Location
from dispatcher.core.media_urls import service_region
from dispatcher.core.parameters import MASK, parameters_of
from dispatcher.core.rendering import render_call
from dispatcher.core.rules import EditingAction, InputType, OutputMediaTarget, Rule, WorkflowAction
from dispatcher.core.templates import bind_value
from dispatcher.core.unsendable import (
    USER_DATA_LIMIT,
    LimitBroken,
    UserDataTooLong,
    advice_for,
    reason_of,
    sentence_of,
    user_data_limit,
)

if TYPE_CHECKING:
    from dispatcher.core.calls import Call
    from dispatcher.core.rules import Action
    from dispatcher.core.unsendable import Unsendable

ENDPOINT = Endpoint("cn-hangzhou", "https://ice.cn-hangzhou.aliyuncs.com")
ID = "abzujfgdcb5axrvqdg6paxmse4"
OUT = "http://out.oss-cn-hangzhou.aliyuncs.com/{stem}.mp4"
JOB = EditingAction({"MediaURL": OUT}, project_id="p")


def rule_with(action: Action) -> Rule:
    return Rule("rule-id", "rule name", Location("b", ""), ANY, action)


def render(action: Action, key: str = "in/x.mp4", size: int = 7, media_id: str | None = None) -> Call | Unsendable:
    return render_call(
        rule_with(action),
        ENDPOINT,
        bucket="b",
        key=key,
        etag="e",
        size=size,
        dispatch_id=ID,
        attempt=2,
        input_media_id=media_id,
    )


def broken(action: EditingAction, regions: dict[str, str] | None = None) -> list[str]:
    """Return the fields that a configuration would be refused for."""
    bound = resolved(action, lambda value: bind_value(value, "b", "rule-id"))
    return [each.field for each in broken_limits(bound, "cn-hangzhou", regions or {})]


def with_output(**fields: object) -> EditingAction:
    return replace(JOB, output_media_config={"MediaURL": OUT, **fields})


# -- what is sent ---------------------------------------------------------------------------------


def test_every_field_of_a_job() -> None:
    action = EditingAction(
        output_media_config={"MediaURL": OUT, "Width": 1280},
        template_id="{not} a template of ours",
        clips_param={"Video": "{url}", "{key}": ["{bucket}", {"deep": "{dir}|{extension}|{size}"}], "n": 1.5},
        editing_produce_config={"AutoRegisterInputVodMedia": True},
        media_metadata={"Title": "{stem}"},
        project_metadata={"Title": "{dispatch_id}"},
        source="OpenAPI",
        user_data={"NotifyAddress": "https://cb/ims", "RegisterMediaNotifyAddress": "ice-callback-{bucket}"},
    )
    assert render(action) == EditingCall(
        endpoint=ENDPOINT,
        client_token=ID,
        output_media_config='{"MediaURL":"http://out.oss-cn-hangzhou.aliyuncs.com/x.mp4","Width":1280}',
        user_data='{"NotifyAddress":"https://cb/ims","RegisterMediaNotifyAddress":"ice-callback-b",'
        f'"DispatchId":"{ID}.2"}}',
        template_id="{not} a template of ours",
        clips_param='{"Video":"oss://b/in/x.mp4","{key}":["b",{"deep":"in/|mp4|7"}],"n":1.5}',
        output_media_target="oss-object",
        editing_produce_config='{"AutoRegisterInputVodMedia":true}',
        media_metadata='{"Title":"x"}',
        project_metadata=f'{{"Title":"{ID}"}}',
        source="OpenAPI",
    )


def test_a_timeline_is_rendered_at_any_depth_and_the_others_are_not_sent() -> None:
    timeline = {"VideoTracks": [{"VideoTrackClips": [{"MediaURL": "{url}", "Out": 2}]}]}
    call = render(replace(JOB, project_id=None, timeline=timeline))
    assert isinstance(call, EditingCall)
    assert call.timeline == '{"VideoTracks":[{"VideoTrackClips":[{"MediaURL":"oss://b/in/x.mp4","Out":2}]}]}'
    assert list(parameters_of(call)) == [
        "Timeline",
        "OutputMediaTarget",
        "OutputMediaConfig",
        "ClientToken",
        "UserData",
    ]


@given(st.binary(min_size=1, max_size=60))
def test_every_key_gives_valid_json_that_keeps_its_bytes(raw: bytes) -> None:
    action = EditingAction(
        {"MediaURL": "oss://o/made"}, template_id="t", clips_param={"a": ['"{key}', {"b": "{key}\\"}]}
    )
    call = render(action, decode_key(raw))
    assert isinstance(call, EditingCall)
    call.clips_param.encode()
    first, second = json.loads(call.clips_param)["a"]
    assert (encode_key(first), encode_key(second["b"])) == (b'"' + raw, raw + b"\\")


def test_user_data_of_a_job_has_the_same_limit() -> None:
    too_long = render(replace(JOB, user_data={"a": "x" * USER_DATA_LIMIT}))
    assert isinstance(too_long, UserDataTooLong)
    assert reason_of(too_long) is StateReason.USER_DATA
    assert advice_for(too_long, rule_with(JOB)) == "shorten editing.user_data of rule rule-id"


def test_secrets_of_an_s3_output_travel_and_are_not_shown() -> None:
    config = {"Bucket": "b", "AccessKeyId": "LTAI", "AccessKeySecret": "hunter2"}
    call = render(EditingAction(config, project_id="p", output_media_target=OutputMediaTarget.S3))
    assert isinstance(call, EditingCall)
    assert json.loads(call.output_media_config) == config
    assert json.loads(parameters_of(call)["OutputMediaConfig"]) == {
        "Bucket": "b",
        "AccessKeyId": MASK,
        "AccessKeySecret": MASK,
    }


# -- media assets ---------------------------------------------------------------------------------


def test_a_media_asset_is_registered_and_then_named() -> None:
    action = WorkflowAction("w", input_type=InputType.MEDIA)
    first = render(action)
    assert isinstance(first, RegisterCall)
    assert (first.input_url, user_data_limit(first)) == ("oss://b/in/x.mp4", 1024)
    assert len(first.client_token) == 32
    assert render(action, size=8) == first
    second = render(action, media_id="m1")
    assert isinstance(second, WorkflowCall)
    assert second.task_input == '{"Type":"Media","Media":"m1"}'


def test_a_url_that_cannot_be_registered_is_not_sent() -> None:
    action = WorkflowAction("w", "http://b.oss-cn-hangzhou.aliyuncs.com/{key}", input_type=InputType.MEDIA)
    assert isinstance(render(action), RegisterCall)
    unsendable = render(action, "in/what?.mp4")
    assert isinstance(unsendable, LimitBroken)
    assert unsendable.field == "media_url"


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fits", "breaks"),
    [
        ({"Width": SIDE[0]}, {"Width": SIDE[0] - 1}),
        ({"Width": SIDE[1]}, {"Width": SIDE[1] + 1}),
        ({"Height": SIDE[0]}, {"Height": SIDE[0] - 1}),
        ({"Height": SIDE[1]}, {"Height": SIDE[1] + 1}),
        ({"Bitrate": BITRATE[0]}, {"Bitrate": BITRATE[0] - 1}),
        ({"Bitrate": BITRATE[1]}, {"Bitrate": BITRATE[1] + 1}),
        ({"Width": SIDE[1], "Height": SHORTER_SIDE}, {"Width": SIDE[1], "Height": SHORTER_SIDE + 1}),
        ({"Height": SIDE[1], "Width": SHORTER_SIDE}, {"Height": SIDE[1], "Width": SHORTER_SIDE + 1}),
        ({"Width": "128"}, {"Width": "127"}),
        ({"Width": None}, {"Width": "wide"}),
        ({"Bitrate": 3000}, {"Bitrate": 3000.5}),
        ({"Bitrate": "3000"}, {"Bitrate": True}),
        ({"Bitrate": "{size}"}, {"Bitrate": "{{size}}"}),
    ],
)
def test_each_number_on_both_sides(fits: dict[str, object], breaks: dict[str, object]) -> None:
    assert broken(with_output(**fits)) == []
    [field] = broken(with_output(**breaks))
    assert field == f"output_media_config.{list(breaks)[-1]}"


def test_the_documented_numbers() -> None:
    assert (SIDE, SHORTER_SIDE, BITRATE[1], TRACKS) == ((128, 4096), 2160, 5000, 100)


@pytest.mark.parametrize("kind", ["VideoTracks", "AudioTracks", "ImageTracks", "SubtitleTracks", "EffectTracks"])
def test_a_hundred_tracks_of_each_kind(kind: str) -> None:
    timeline: dict[str, object] = {kind: [{}] * TRACKS, "Other": [{}] * 200}
    assert broken(replace(JOB, timeline=timeline)) == []
    assert broken(replace(JOB, timeline={kind: [{}] * (TRACKS + 1)})) == [f"timeline.{kind}"]


def test_a_template_needs_its_materials() -> None:
    job = replace(JOB, project_id=None, template_id="t")
    assert broken(job) == ["clips_param"]
    assert broken(replace(job, clips_param={})) == ["clips_param"]
    assert broken(replace(job, clips_param={"V": "{url}"})) == []


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://o.oss-cn-hangzhou.aliyuncs.com/{key}", True),
        ("https://o.oss-cn-hangzhou-internal.aliyuncs.com/{dir}{stem}", True),
        ("oss://o/{key}", True),
        ("oss://{bucket}/made/{key}", True),
        ("{url}", True),
        ("{dir}{stem}", True),  # known only with an object
        ("made/{stem}.mp4", False),
        ("s3://o/{key}", False),
        ("oss://o/", False),
        ("oss://o/made/", False),
        ("http://cdn.example.com/{key}", False),
        ("http://o.oss-accelerate.aliyuncs.com/{key}", False),
        ("http://oss-cn-hangzhou.aliyuncs.com/o/{key}", False),
        ("http://o.oss-cn-hangzhou.aliyuncs.com/{key}?Signature=x", False),
        (7, False),
        ("", False),
    ],
)
def test_where_an_object_may_be_written(url: object, *, taken: bool) -> None:
    found = broken(EditingAction({"MediaURL": url}, project_id="p"))
    assert found == ([] if taken else ["output_media_config.MediaURL"])


@pytest.mark.parametrize(
    ("output", "faults"),
    [
        ({"StorageLocation": "outin-1.oss-cn-hangzhou.aliyuncs.com", "FileName": "{stem}.mp4"}, []),
        ({"StorageLocation": "outin-1.oss-cn-hangzhou.aliyuncs.com"}, ["FileName"]),
        ({"FileName": "x.mp4"}, ["StorageLocation"]),
        ({"StorageLocation": "http://outin-1.oss-cn-hangzhou.aliyuncs.com", "FileName": "a/{stem}"}, None),
        ({"StorageLocation": "outin-1.oss-cn-beijing.aliyuncs.com", "FileName": "x.mp4"}, ["StorageLocation"]),
    ],
)
def test_where_vod_may_be_written(output: dict[str, object], faults: list[str] | None) -> None:
    found = broken(EditingAction(output, project_id="p", output_media_target=OutputMediaTarget.VOD_MEDIA))
    wanted = ["StorageLocation", "FileName"] if faults is None else faults
    assert found == [f"output_media_config.{name}" for name in wanted]


def test_the_service_reads_and_writes_in_its_own_region() -> None:
    regions = {"here": "cn-hangzhou", "there": "cn-beijing", "media.example.com": "cn-beijing"}
    far = "http://o.oss-cn-beijing.aliyuncs.com/{key}"
    assert broken(with_output(MediaURL=far)) == ["output_media_config.MediaURL"]
    clips = {
        "A": far,
        "B": "oss://here/{key}",
        "C": "oss://there/{key}",
        "D": ["http://media.example.com/{key}", "http://elsewhere.example/{key}"],
        "E": "see http://o.oss-cn-beijing.aliyuncs.com/",
    }
    assert broken(replace(JOB, clips_param=clips), regions) == ["clips_param.A", "clips_param.C", "clips_param.D[0]"]
    tracks = {"VideoTracks": [{"VideoTrackClips": [{"MediaURL": far}]}]}
    assert broken(replace(JOB, timeline=tracks)) == ["timeline.VideoTracks[0].VideoTrackClips[0].MediaURL"]
    bound = resolved(with_output(MediaURL=far), lambda value: bind_value(value, "b", "r"))
    assert list(broken_limits(bound, None, regions)) == []


def test_a_region_by_custom_is_no_region() -> None:
    assert service_region(ENDPOINT) == "cn-hangzhou"
    assert service_region(Endpoint("us-east-1", "https://ice.us-east-1.aliyuncs.com")) == "us-east-1"
    assert service_region(Endpoint("us-east-1", "http://127.0.0.1:9000")) is None


# -- limits that only the object breaks -----------------------------------------------------------


def test_what_waits_for_the_object_is_judged_with_it() -> None:
    job = with_output(Bitrate="{size}")
    assert broken(job) == []
    assert isinstance(render(job, size=BITRATE[1]), EditingCall)
    unsendable = render(job, size=BITRATE[1] + 1)
    assert isinstance(unsendable, LimitBroken)
    assert reason_of(unsendable) is StateReason.LIMIT
    assert sentence_of(unsendable).startswith("output_media_config.Bitrate: 5001 kbit/s is out of range")
    assert advice_for(unsendable, rule_with(job)) == "change editing.output_media_config.Bitrate of rule rule-id"


def test_a_bucket_that_the_object_names_is_judged_with_it() -> None:
    job = replace(JOB, timeline={"a": ["http://{stem}.oss-cn-{extension}.aliyuncs.com/x"]})
    assert broken(job) == []
    assert isinstance(render(job, "m.hangzhou"), EditingCall)
    unsendable = render(job, "m.beijing")
    assert isinstance(unsendable, LimitBroken)
    assert unsendable.field == "timeline.a[0]"


def test_a_limit_says_nothing_of_the_key() -> None:
    unsendable = render(with_output(MediaURL="{stem}"), "\x1b[2Jhostile.mp4")
    assert isinstance(unsendable, LimitBroken)
    assert "hostile" not in sentence_of(unsendable)
