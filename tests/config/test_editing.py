"""`editing:` and media assets in the configuration: what is read, and each mistake at its own line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dispatcher.config import load
from dispatcher.core.rules import EditingAction, InputType, OutputMediaTarget, WorkflowAction
from dispatcher.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.core.rules import Action

HEAD = """\
rules:
  - name: cut
    input: http://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/
"""
PROJECT = HEAD + "    editing:\n      project: p\n"
OUT = "      output_media_config: {MediaURL: 'oss://out/{key}'}\n"


def action(folder: Path, text: str, **env: str) -> Action:
    file = folder / "config.yaml"
    file.write_text(text, "utf-8")
    return load(file, env).rules.rules[0].action


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        action(folder, text)
    return [line.removeprefix("config.yaml:") for line in raised.value.message.splitlines()]


def test_every_key_of_a_job(tmp_path: Path) -> None:
    read = action(
        tmp_path,
        HEAD
        + """\
    editing:
      template: ${TEMPLATE}
      clips_param: '{"Video": "{url}", "n": [1, 2.5, true, null]}'
      output_media_config: {StorageLocation: outin-1.oss-cn-hangzhou.aliyuncs.com, FileName: "{stem}.mp4"}
      output_media_target: vod-media
      editing_produce_config: {AutoRegisterInputVodMedia: "true"}
      media_metadata: {Title: "{stem}"}
      project_metadata: {Title: "{rule}"}
      source: WebSDK
      user_data: '{"NotifyAddress": "https://cb/ims"}'
""",
        TEMPLATE="t1",
    )
    assert read == EditingAction(
        output_media_config={
            "StorageLocation": "outin-1.oss-cn-hangzhou.aliyuncs.com",
            "FileName": "{stem}.mp4",
        },
        template_id="t1",
        clips_param={"Video": "{url}", "n": [1, 2.5, True, None]},
        output_media_target=OutputMediaTarget.VOD_MEDIA,
        editing_produce_config={"AutoRegisterInputVodMedia": "true"},
        media_metadata={"Title": "{stem}"},
        project_metadata={"Title": "{rule}"},
        source="WebSDK",
        user_data={"NotifyAddress": "https://cb/ims"},
    )


def test_a_project_and_a_timeline(tmp_path: Path) -> None:
    assert action(tmp_path, PROJECT + OUT) == EditingAction({"MediaURL": "oss://out/{key}"}, project_id="p")
    read = action(tmp_path, HEAD + "    editing:\n      timeline: {VideoTracks: [{}]}\n" + OUT)
    assert read == EditingAction({"MediaURL": "oss://out/{key}"}, timeline={"VideoTracks": [{}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "2: rules[0].workflow: this key is missing"),
        (HEAD + "    editing:\n", "4: rules[0].editing: write exactly one of template, project, timeline"),
        (HEAD + "    editing: p\n", "4: rules[0].editing: write keys and values here: template, project, timeline"),
        (PROJECT, "4: rules[0].editing.output_media_config: this key is missing"),
        (HEAD + "    editing:\n" + OUT, "4: rules[0].editing: write exactly one of"),
        (PROJECT + OUT + "      timeline: {}\n", "7: rules[0].editing.timeline: project is written too"),
        (PROJECT + OUT + "    workflow: w\n", "7: rules[0].workflow: editing is written too"),
        (PROJECT + OUT + "      ClipsParam: {}\n", "7: rules[0].editing.ClipsParam: unknown key `ClipsParam`; did you"),
        (PROJECT + OUT + "      source: me\n", "7: rules[0].editing.source: write 'OpenAPI', 'AliyunConsole' or"),
        (PROJECT + OUT + "      output_media_target: oss\n", "7: rules[0].editing.output_media_target: write 'oss-"),
        (PROJECT + OUT + "      media_metadata: [1]\n", "7: rules[0].editing.media_metadata: write keys and values"),
        (PROJECT + OUT + "      media_metadata: '{'\n", "7: rules[0].editing.media_metadata: this text is no JSON"),
        (PROJECT + OUT + "      media_metadata: '[1]'\n", "7: rules[0].editing.media_metadata: write keys and values"),
        (PROJECT + OUT + "      media_metadata: {a: .inf}\n", "7: rules[0].editing.media_metadata.a: JSON has no"),
        (
            PROJECT + OUT + "      media_metadata:\n        a:\n          - b: '{kee}'\n",
            "9: rules[0].editing.media_metadata.a[0].b: unknown placeholder {kee}; did you mean {key}?",
        ),
        (PROJECT + OUT + f"      user_data: {{a: {'x' * 500}}}\n", "7: rules[0].editing.user_data: this is 554 bytes"),
        (PROJECT + OUT + "      user_data: {DispatchId: x}\n", "7: rules[0].editing.user_data: DispatchId is ours"),
        (HEAD + "    editing:\n      template: t\n" + OUT, "4: rules[0].editing.clips_param: a template needs"),
        (PROJECT + "      output_media_config: {}\n", "6: rules[0].editing.output_media_config.MediaURL: this text"),
        (
            PROJECT + "      output_media_config:\n        MediaURL: 'oss://out/{key}'\n        Width: 100\n",
            "8: rules[0].editing.output_media_config.Width: 100 pixels is out of range; the service takes 128 to 4096",
        ),
    ],
)
def test_a_wrong_job_says_where_and_what_to_write(tmp_path: Path, text: str, said: str) -> None:
    lines = refused(tmp_path, text)
    assert any(line.startswith(said) for line in lines), lines


def test_all_limits_are_told_at_once(tmp_path: Path) -> None:
    lines = refused(
        tmp_path,
        PROJECT
        + """\
      output_media_config:
        MediaURL: http://o.oss-cn-beijing.aliyuncs.com/{key}
        Height: 5000
        Bitrate: 3000000
""",
    )
    assert [line.split(": ")[0] for line in lines] == ["7", "8", "9"]
    assert "kbit/s" in lines[2]


def test_buckets_and_custom_hosts_of_the_file_tell_their_region(tmp_path: Path) -> None:
    text = PROJECT + "      output_media_config: {MediaURL: 'oss://far/{key}'}\n"
    assert isinstance(action(tmp_path, text), EditingAction)
    far = "buckets: [{name: far, region: cn-beijing, hosts: [media.example.com]}]\n"
    [line] = refused(tmp_path, text + far)
    assert line.startswith("6: rules[0].editing.output_media_config.MediaURL: far lies in cn-beijing")


def test_a_media_asset_as_input(tmp_path: Path) -> None:
    text = HEAD + "    workflow: {id: w, input_type: media}\n"
    assert action(tmp_path, text) == WorkflowAction("w", input_type=InputType.MEDIA)


@pytest.mark.parametrize(
    ("media_url", "said"),
    [
        ("{key}", None),
        ("in/{key}", "this is no URL of an OSS object"),
        ("http://cdn.example.com/{key_quoted}", "OSS's own hosts"),
        ("http://m.oss-cn-beijing.aliyuncs.com/{key_quoted}", "lies in cn-beijing"),
        ("http://m.oss-cn-hangzhou.aliyuncs.com/{key_quoted}", None),
        ("vod://20b48fb04483915d4f2cd8ac", None),
    ],
)
def test_an_object_is_registered_by_a_url_that_the_service_takes(
    tmp_path: Path, media_url: str, said: str | None
) -> None:
    text = HEAD + f"    workflow:\n      id: w\n      input_type: media\n      media_url: '{media_url}'\n"
    if said is None:
        assert isinstance(action(tmp_path, text), WorkflowAction)
        return
    [line] = refused(tmp_path, text)
    assert line.startswith("7: rules[0].workflow.media_url: ")
    assert said in line


def test_values_of_the_environment_are_json_too(tmp_path: Path) -> None:
    read = action(tmp_path, PROJECT + OUT, OSS_DISPATCHER_RULES__0__EDITING__MEDIA_METADATA='{Title: "{stem}"}')
    assert isinstance(read, EditingAction)
    assert read.media_metadata == {"Title": "{stem}"}
