"""What the program shows of its configuration: masked, complete, and a configuration again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest
from ruamel.yaml import YAML

from dispatcher.config import dump_effective, dump_policy, dump_schema, effective, load, policy, schema, starter
from dispatcher.service.checking import check

EXAMPLES = Path(__file__).parents[2] / "config"
FULL = EXAMPLES / "oss-dispatcher.yaml"
SCHEMA = EXAMPLES / "oss-dispatcher.schema.json"

TRICKY = """\
buckets:
  - {name: a, region: cn-x, hosts: [media.example.com]}
  - {name: local, region: cn-x, endpoint: "http://127.0.0.1:8333"}
rules:
  - {name: "12", input: "oss://a/in/$${x} é: '#", workflow: "1e5", extensions: [mp4, none], existing: dispatch}
  - {name: "no", input: "oss://a/x.mp4", workflow: "0x1f", budget: unlimited, settle: 90s}
  - name: "null"
    input: "oss://local/"
    workflow: {id: "true", media_url: "oss://m/{key}", user_data: {a: "$${{v}} {{ {key}", b: [1, 1.5, null, true, "1"]}}
    existing: {since: 2026-01-01T08:00:00+08:00}
  - name: cut
    input: "oss://a/cut/"
    editing:
      timeline: '{"VideoTracks":[{"n":1.5,"MediaURL":"{url}","t":"$${{v}} {{","off":false,"x":null}]}'
      output_media_config: {MediaURL: "http://a.oss-cn-x.aliyuncs.com/out/{key}", Width: 128}
      user_data: {a: "1e5"}
  - name: filed
    input: "oss://a/media/"
    workflow: {id: w, input_type: media}
limits: {StartWorkflow: 100/h, SubmitMediaProducingJob: 1/s, ListWorkflowTasks: 7/m, not_started_codes: [X.Y]}
sources: [{type: poll, every: 90s, requests: 123457/month}]
never_trigger: [out/]
"""


EDITING = {"project": "p", "output_media_config": {"MediaURL": "oss://o/{key}"}}


def plain(text: str) -> object:
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("name", ["minimal.yaml", "oss-dispatcher.yaml"])
def test_the_examples_load_and_fit_the_schema(name: str) -> None:
    load(EXAMPLES / name, {})
    jsonschema.validate(plain((EXAMPLES / name).read_text("utf-8")), schema())


def test_the_committed_schema_is_that_of_the_models() -> None:
    assert SCHEMA.read_text("utf-8") == dump_schema()
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "wrong",
    [
        {"rules": []},
        {"rules": [{"name": "a", "input": "x"}]},
        {"rules": [{"name": "a", "input": "x", "workflow": 5}]},
        {"rules": [{"name": "a", "input": "x", "workflow": {"id": "w", "extra": 1}}]},
        {"rules": [{"name": "a", "input": "x", "workflow": "w", "extensions": [".mp4"]}]},
        {"rules": [{"name": "a", "input": "x", "workflow": "w", "editing": EDITING}]},
        {"rules": [{"name": "a", "input": "x", "editing": {**EDITING, "template": "t"}}]},
        {"rules": [{"name": "a", "input": "x", "editing": {"project": "p"}}]},
        {"rules": [{"name": "a", "input": "x", "workflow": "w"}], "version": 2},
        {"rules": [{"name": "a", "input": "x", "workflow": "w"}], "unknown": 2},
    ],
)
def test_the_schema_refuses_what_loading_refuses(wrong: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema())


def test_the_full_example_writes_every_key() -> None:
    text = FULL.read_text("utf-8")
    definitions = schema()["$defs"]
    assert isinstance(definitions, dict)
    keys = {key for model in definitions.values() for key in model["properties"]} | set(effective(load(FULL, {})))
    assert [key for key in sorted(keys) if key not in text] == []


def test_the_starter_loads_and_leaves_nothing_to_warn_of(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(starter(), "utf-8")
    assert check(load(file, {})) == []
    jsonschema.validate(plain(starter()), schema())


@pytest.mark.parametrize(
    "text", [TRICKY, FULL.read_text("utf-8").replace(":-example}", ":-***}")], ids=["tricky", "full"]
)
def test_what_is_shown_is_the_same_configuration(tmp_path: Path, text: str) -> None:
    first = tmp_path / "config.yaml"
    first.write_text(text, "utf-8")
    settings = load(first, {})
    second = tmp_path / "shown.yaml"
    second.write_text(dump_effective(settings), "utf-8")
    again = load(second, {})
    assert replace(again, path=first, names=settings.names) == settings
    jsonschema.validate(json.loads(json.dumps(effective(settings))), schema())


def test_secrets_are_masked(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    secret = "{type: access_key, access_key_id: LTAI, access_key_secret: hunter2, security_token: hunter3}"
    file.write_text(
        (EXAMPLES / "minimal.yaml").read_text("utf-8")
        + f"credentials: {secret}\nbuckets: [{{name: my-media, credentials: {secret}}}]\n",
        "utf-8",
    )
    shown = dump_effective(load(file, {}))
    assert shown.count("***") == 6
    assert not any(word in shown for word in ("hunter2", "hunter3", "LTAI"))


def test_secrets_of_an_s3_output_are_masked(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "rules:\n  - name: a\n    input: oss://m.oss-cn-x.aliyuncs.com/in/\n    editing:\n"
        "      project: p\n      output_media_target: S3\n"
        "      output_media_config: {Bucket: b, AccessKeyId: LTAI, AccessKeySecret: hunter2}\n",
        "utf-8",
    )
    shown = dump_effective(load(file, {}))
    assert "Bucket: b" in shown
    assert not any(word in shown for word in ("hunter2", "LTAI"))


def test_the_policy_asks_only_for_the_calls_of_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    rule = f"{{name: a, input: 'oss://m.oss-cn-x.aliyuncs.com/', editing: {json.dumps(EDITING)}}}"
    file.write_text(f"rules: [{rule}]\n", "utf-8")
    assert "ice:SubmitMediaProducingJob" in dump_policy(load(file, {}))
    assert "Workflow" not in dump_policy(load(file, {}))


def test_the_policy_allows_exactly_what_is_used(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(TRICKY, "utf-8")
    settings = load(file, {})
    assert policy(settings) == {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["oss:ListObjects"],
                "Resource": ["acs:oss:*:*:a"],
                "Condition": {"StringLike": {"oss:Prefix": ["cut/*", "in/${x} é: '#*", "media/*", "x*"]}},
            },
            {
                "Effect": "Allow",
                "Action": ["oss:GetObject"],
                "Resource": [f"acs:oss:*:*:a/{root}*" for root in ("cut/", "in/${x} é: '#", "media/", "x")],
            },
            {
                "Effect": "Allow",
                "Action": [
                    "ice:StartWorkflow",
                    "ice:ListWorkflowTasks",
                    "ice:GetWorkflowTask",
                    "ice:SubmitMediaProducingJob",
                    "ice:ListMediaProducingJobs",
                    "ice:GetMediaProducingJob",
                    "ice:RegisterMediaInfo",
                    "ice:GetMediaInfo",
                ],
                "Resource": ["*"],
            },
        ],
    }
    assert json.loads(dump_policy(settings)) == policy(settings)


def test_a_whole_bucket_needs_no_prefix_condition(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("rules: [{name: a, input: 'oss://m.oss-cn-x.aliyuncs.com/', workflow: w}]\n", "utf-8")
    assert "Condition" not in dump_policy(load(file, {}))
