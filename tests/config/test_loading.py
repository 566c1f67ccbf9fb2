"""The configuration: what follows from four lines, and what is said when something is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.config import load
from dispatcher.core.calls import Api, Endpoint
from dispatcher.core.extensions import ANY, ExtensionSet
from dispatcher.core.location import Location
from dispatcher.core.ratelimit import Rate
from dispatcher.core.rules import Existing, MatchMode, OnUncertain, WorkflowAction
from dispatcher.core.settings import Addressing, Credentials, OverlapPolicy, Secret, Settings
from dispatcher.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from pathlib import Path

FOUR_LINES = """\
rules:
  - name: transcode
    input: http://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/
    workflow: f0e54971ecbffd472190
"""
LOCAL = """\
buckets:
  - {name: local, endpoint: "http://127.0.0.1:8333"}
ims: {endpoint: "http://127.0.0.1:9000"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, text: str, **env: str) -> Settings:
    file = folder / "config.yaml"
    file.write_text(text, "utf-8")
    return load(file, env)


def refused(folder: Path, text: str, **env: str) -> list[str]:
    """Return the lines of what is said."""
    with pytest.raises(ConfigError) as raised:
        read(folder, text, **env)
    assert raised.value.exit_code is ExitCode.CONFIG
    assert raised.value.hint
    return raised.value.message.splitlines()


def with_rule(line: str) -> str:
    """Return the four lines with one more, line 5, in the rule."""
    return f"{FOUR_LINES}    {line}\n"


# -- what is read ---------------------------------------------------------------------------------


def test_four_lines_are_enough(folder: Path) -> None:
    settings = read(folder, FOUR_LINES)
    (rule,) = settings.rules.rules
    bucket = settings.buckets["my-media"]
    assert rule.input == Location("my-media", "incoming/")
    assert (rule.id, rule.workflow_id) == ("transcode", "f0e54971ecbffd472190")
    assert bucket.endpoint == "https://s3.oss-cn-hangzhou.aliyuncs.com"
    assert (bucket.addressing, bucket.on_oss) == (Addressing.VIRTUAL, True)
    assert bucket.ims == Endpoint("cn-hangzhou", "https://ice.cn-hangzhou.aliyuncs.com")
    assert settings.credentials == Credentials()
    assert settings.overlap is OverlapPolicy.WARN
    assert settings.rates == {
        Api.START_WORKFLOW: Rate(10),
        Api.LIST_WORKFLOW_TASKS: Rate(5),
        Api.GET_WORKFLOW_TASK: Rate(5),
        Api.SUBMIT_MEDIA_PRODUCING_JOB: Rate(25),
        Api.LIST_MEDIA_PRODUCING_JOBS: Rate(5),
        Api.GET_MEDIA_PRODUCING_JOB: Rate(5),
        Api.REGISTER_MEDIA_INFO: Rate(10),
        Api.GET_MEDIA_INFO: Rate(5),
    }
    assert (settings.call_timeout, settings.drain_timeout) == (timedelta(seconds=10), timedelta(seconds=30))
    assert settings.ledger.url == f"sqlite:///{folder}/oss-dispatcher.db"
    assert settings.names.only_bucket == "my-media"


def test_every_key_of_a_rule(folder: Path) -> None:
    settings = read(
        folder,
        """\
rules:
  - name: a
    id: "1"
    was: [old]
    input: oss://m.oss-cn-x.aliyuncs.com/in/
    match: prefix
    extensions: [MP4, none]
    exclude: ["**/.tmp/**"]
    min_size: 0
    settle: 5m
    existing: {since: 2026-01-01}
    budget: unlimited
    on_uncertain: hold
    workflow:
      id: w
      input_type: oss
      media_url: "oss://other/{key}"
      skip_input_verification: true
      user_data: {NotifyAddress: "https://cb.example.com/{rule}", n: [1, true, null]}
never_trigger: [out/, "oss://x/y"]
""",
    )
    (rule,) = settings.rules.rules
    assert (rule.id, rule.name, rule.was) == ("1", "a", ("old",))
    assert (rule.match, rule.match_written) == (MatchMode.PREFIX, True)
    assert rule.extensions == ExtensionSet.of("mp4", "none")
    assert (rule.exclude, rule.min_size, rule.settle) == (("**/.tmp/**",), 0, timedelta(minutes=5))
    assert rule.existing == Existing(dispatch=True, since=datetime(2026, 1, 1, tzinfo=UTC))
    assert (rule.budget, rule.on_uncertain) == (None, OnUncertain.HOLD)
    assert rule.action == WorkflowAction(
        "w",
        "oss://other/{key}",
        skip_input_verification=True,
        user_data={"NotifyAddress": "https://cb.example.com/{rule}", "n": [1, True, None]},
    )
    assert settings.rules.never_trigger == (Location("m", "out/"), Location("x", "y"))


def test_a_bare_prefix_means_the_one_bucket(folder: Path) -> None:
    settings = read(folder, LOCAL + "rules:\n  - {name: a, input: in/, workflow: w, extensions: any}\n")
    (rule,) = settings.rules.rules
    assert (rule.input, rule.extensions) == (Location("local", "in/"), ANY)
    bucket = settings.buckets["local"]
    assert (bucket.addressing, bucket.on_oss) == (Addressing.PATH, False)
    assert bucket.ims.url == "http://127.0.0.1:9000"


def test_a_bare_never_trigger_holds_in_every_bucket(folder: Path) -> None:
    text = (
        LOCAL + "rules:\n  - {name: a, input: oss://m.oss-cn-x.aliyuncs.com/in/, workflow: w}\nnever_trigger: [out/]\n"
    )
    assert set(read(folder, text).rules.never_trigger) == {Location("local", "out/"), Location("m", "out/")}


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("m.oss-cn-x-internal", "https://s3.oss-cn-x-internal.aliyuncs.com"),
        ("m.s3.oss-cn-x", "https://s3.oss-cn-x.aliyuncs.com"),
        ("m.cn-x.oss", "https://s3.oss-cn-x.aliyuncs.com"),
    ],
)
def test_the_endpoint_follows_from_the_host(folder: Path, host: str, endpoint: str) -> None:
    text = f"rules:\n  - {{name: a, input: 'http://{host}.aliyuncs.com/in/', workflow: w}}\n"
    assert read(folder, text).buckets["m"].endpoint == endpoint


def test_public_and_internal_urls_together_take_the_public_endpoint(folder: Path) -> None:
    text = (
        "rules:\n"
        "  - {name: a, input: 'http://m.oss-cn-x-internal.aliyuncs.com/a/', workflow: w}\n"
        "  - {name: b, input: 'http://m.oss-cn-x.aliyuncs.com/b/', workflow: w}\n"
    )
    assert read(folder, text).buckets["m"].endpoint == "https://s3.oss-cn-x.aliyuncs.com"


def test_copied_oss_urls_name_a_bucket_on_another_store(folder: Path) -> None:
    text = LOCAL + "rules:\n  - {name: a, input: 'http://local.oss-cn-hangzhou.aliyuncs.com/A/', workflow: w}\n"
    bucket = read(folder, text).buckets["local"]
    assert (bucket.endpoint, bucket.region) == ("http://127.0.0.1:8333", "cn-hangzhou")


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("ice.cn-x.aliyuncs.com", "https://ice.cn-x.aliyuncs.com"),
        ("127.0.0.1:90", "https://127.0.0.1:90"),
        ("http://127.0.0.1:90/", "http://127.0.0.1:90"),
        ("HTTPS://Ims.Example", "https://ims.example"),
    ],
)
def test_endpoints(folder: Path, written: str, url: str) -> None:
    assert read(folder, FOUR_LINES + f"ims: {{endpoint: '{written}'}}\n").buckets["my-media"].ims.url == url


def test_the_ledger_lies_in_the_state_directory_or_where_written(folder: Path) -> None:
    assert read(folder, FOUR_LINES, STATE_DIRECTORY="/var/lib/x").ledger.url == "sqlite:////var/lib/x/oss-dispatcher.db"
    written = FOUR_LINES + "ledger: {url: 'sqlite:///sub/my.db', keep: 7d}\n"
    assert read(folder, written).ledger.url == f"sqlite:///{folder}/sub/my.db"
    assert read(folder, FOUR_LINES + "ledger: {url: 'sqlite:////abs/my.db'}\n").ledger.url == "sqlite:////abs/my.db"


# -- the environment --------------------------------------------------------------------------------


def test_variables_stand_inside_values_only(folder: Path) -> None:
    text = """\
rules:
  - name: "${NAME:-plain}"
    input: http://m.oss-cn-x.aliyuncs.com/${PLACE}/
    workflow: ${WORKFLOW}
    min_size: ${SIZE}
"""
    settings = read(folder, text, PLACE="a: b '", WORKFLOW="123", SIZE="5")
    (rule,) = settings.rules.rules
    assert (rule.name, rule.input.prefix) == ("plain", "a: b '/")
    assert (rule.workflow_id, rule.min_size) == ("123", 5)


def test_an_escaped_variable_is_text(folder: Path) -> None:
    text = "rules:\n  - {name: '$${X} $5', input: 'http://m.oss-cn-x.aliyuncs.com/a/', workflow: w}\n"
    assert read(folder, text).rules.rules[0].name == "${X} $5"


def test_an_unset_variable_is_an_error_that_names_it(folder: Path) -> None:
    (line,) = refused(folder, FOUR_LINES.replace("f0e54971ecbffd472190", "${WORKFLOW}"))
    assert line.startswith("config.yaml:4: rules[0].workflow: ")
    assert "WORKFLOW" in line
    (line,) = refused(folder, FOUR_LINES.replace("http://my-media.oss-cn-hangzhou.aliyuncs.com/incoming/", "${PLACE}"))
    assert line.startswith("config.yaml:3: rules[0].input: ")
    (line,) = refused(folder, FOUR_LINES + "overlap: ${POLICY}\n")
    assert line.startswith("config.yaml:5: overlap: ")


def test_the_environment_replaces_values(folder: Path) -> None:
    settings = read(
        folder,
        FOUR_LINES,
        OSS_DISPATCHER_LIMITS__CONCURRENT_CALLS="4",
        OSS_DISPATCHER_LIMITS__STARTWORKFLOW="2/s",
        OSS_DISPATCHER_OVERLAP="deny",
        OSS_DISPATCHER_RULES__0__WORKFLOW="12345",
        OSS_DISPATCHER_NEVER_TRIGGER="[out/, 'tmp/']",
        OSS_DISPATCHER_PORT="tcp://10.0.0.1:80",
        OSS_DISPATCHER_CONFIG="x.yaml",
    )
    assert (settings.concurrent_calls, settings.rates[Api.START_WORKFLOW]) == (4, Rate(2))
    assert settings.overlap is OverlapPolicy.DENY
    assert settings.rules.rules[0].workflow_id == "12345"
    assert [place.prefix for place in settings.rules.never_trigger] == ["out/", "tmp/"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OSS_DISPATCHER_LIMTS__CONCURRENT_CALLS", "4", "LIMITS"),
        ("OSS_DISPATCHER_LIMITS__CONCURENT_CALLS", "4", "CONCURRENT_CALLS"),
        ("OSS_DISPATCHER_LIMITS__CONCURRENT_CALLS", "four", "whole number"),
        ("OSS_DISPATCHER_RULES__7__NAME", "x", "from 0 to 0"),
        ("OSS_DISPATCHER_RULES__0__WORKFLOW__ID", "x", "single value"),
        ("OSS_DISPATCHER_NEVER_TRIGGER", "[a", "brackets"),
    ],
)
def test_a_wrong_variable_is_named(folder: Path, name: str, value: str, said: str) -> None:
    lines = refused(folder, FOUR_LINES, **{name: value})
    assert all(line.startswith(f"environment variable {name}: ") for line in lines)
    assert said in lines[0]


# -- secrets ----------------------------------------------------------------------------------------


def test_secrets_come_from_files_and_are_never_printed(folder: Path) -> None:
    (folder / "id").write_text("LTAI\n")
    (folder / "secret").write_text("hunter2\n")
    settings = read(
        folder,
        FOUR_LINES + "credentials: {type: access_key, access_key_id_file: id, access_key_secret_file: secret}\n",
    )
    assert settings.credentials == Credentials("LTAI", Secret("hunter2"))
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ("{type: access_key, access_key_id: a, access_key_secret_file: nowhere}", "cannot read nowhere"),
        ("{type: access_key, access_key_id: a}", "access_key_secret or access_key_secret_file"),
        ("{access_key_id: a, access_key_secret: hunter2}", "type: access_key"),
        ("{type: access_key, access_key_id: a, access_key_secret: hunter2, access_key_secret_file: x}", "keep one"),
        ("{type: access_key, access_key_id: a, access_key_secret: 0123456}", "quote it"),
        ("{type: access_key, access_key_id: a, access_key_secret_file: empty}", "is empty"),
    ],
)
def test_wrong_credentials_are_refused_without_repeating_them(folder: Path, credentials: str, said: str) -> None:
    (folder / "empty").write_text("\n")
    lines = refused(folder, FOUR_LINES + f"credentials: {credentials}\n")
    assert said in lines[0]
    assert lines[0].startswith("config.yaml:5: credentials")
    assert not any("hunter2" in line or "123456" in line for line in lines)


# -- what is refused --------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_with_their_lines(folder: Path) -> None:
    lines = refused(
        folder,
        """\
rules:
  - name: a
    inptu: x
    workflow: 12345
  - name: a
    input: http://m.oss-cn-x.aliyuncs.com//in/
    workflow: w
    settle: 5
overlap: maybe
limit: {}
""",
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["config.yaml:2", "rules[0].input"],
        ["config.yaml:3", "rules[0].inptu"],
        ["config.yaml:4", "rules[0].workflow.id"],
        ["config.yaml:5", "rules[1].name"],
        ["config.yaml:6", "rules[1].input"],
        ["config.yaml:8", "rules[1].settle"],
        ["config.yaml:9", "overlap"],
        ["config.yaml:10", "limit"],
    ]
    said = "\n".join(lines)
    assert "did you mean `input`?" in said
    assert "did you mean `limits`?" in said
    assert 'quote it: "12345"' in said
    assert "http://m.oss-cn-x.aliyuncs.com/in/" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("extensions: [.mp4]", "write mp4"),
        ("extensions: mp4", "[mp4, mov, none]"),
        ("extensions: []", "[mp4, mov, none]"),
        ("extensions: [3]", "quote it"),
        ("exclude: ['']", "excludes nothing"),
        ("exclude: '*.ts'", "write a list"),
        ("min_size: -1", "out of range"),
        ("min_size: '5'", "without quotes"),
        ("settle: 5", "5s"),
        ("existing: all", "{since: 2026-01-01}"),
        ("existing: {since: soon}", "2026-01-01"),
        ("budget: 100", "10000/day"),
        ("on_uncertain: skip", "'retry' or 'hold'"),
        ("match: exact", "'documented' or 'prefix'"),
        ("id: 5", 'quote it: "5"'),
        ("id: 007", 'quote it: "007"'),
        ("id: 1e5", 'quote it: "1e5"'),
        ("id: ''", "empty"),
        ("was: [transcode]", "still exists"),
        ("editing: {project: p, output_media_config: {MediaURL: 'oss://o/{key}'}}", "workflow is written too"),
        ("name: other", "written before, in line 2"),
    ],
)
def test_a_wrong_key_of_a_rule_says_what_to_write(folder: Path, line: str, said: str) -> None:
    lines = refused(folder, with_rule(line))
    assert lines[0].startswith("config.yaml:5: rules[0].")
    assert said in lines[0]
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("workflow", "said"),
    [
        ("{}", "id: this key is missing"),
        ("{id: w, input_type: file}", "'oss' or 'media'"),
        ("{id: w, media_url: 'oss://{bukket}/{key}'}", "{bucket}"),
        ("{id: w, user_data: {a: '{'}}", "{{"),
        ("{id: w, user_data: {a: .nan}}", "NaN"),
        ("{id: w, user_data: {DispatchId: x}}", "DispatchId is ours"),
        ("{id: w, user_data: [1]}", "keys and values"),
        ("{id: w, skip_input_verification: 'true'}", "without quotes"),
    ],
)
def test_a_wrong_workflow_says_what_to_write(folder: Path, workflow: str, said: str) -> None:
    lines = refused(folder, FOUR_LINES.replace("f0e54971ecbffd472190", workflow))
    assert lines[0].startswith("config.yaml:4: rules[0].workflow")
    assert said in lines[0]


def test_user_data_is_measured_with_the_longest_id(folder: Path) -> None:
    fixed = len('{"a":"","DispatchId":"aaaaaaaaaaaaaaaaaaaaaaaaaa.999"}')
    fits = "x" * (512 - fixed)
    read(folder, FOUR_LINES.replace("f0e54971ecbffd472190", f"{{id: w, user_data: {{a: {fits}}}}}"))
    (line,) = refused(folder, FOUR_LINES.replace("f0e54971ecbffd472190", f"{{id: w, user_data: {{a: {fits}x}}}}"))
    assert "513 bytes" in line
    assert "512" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 2\n", "version: 1"),
        ("http: {listen: x}\n", "write host:port"),
        ("sources: []\n", "begins with `- type:`"),
        ("sources: [{type: poll}, {type: poll}]\n", "keep one"),
        ("sources: [{type: poll, every: 10ms}]\n", "once a second"),
        ("buckets: [{name: my-media, region: cn-beijing}]\n", "one region"),
        ("buckets: [{name: my-media, addressing: path}]\n", "OSS"),
        ("buckets: [{name: my-media}, {name: my-media}]\n", "twice"),
        ("buckets: [{name: my-media, endpoint: 'my-media.oss-cn-hangzhou.aliyuncs.com'}]\n", "leave out the bucket"),
        ("buckets: [{name: my-media, endpoint: 'http://u:p@h'}]\n", "no user name"),
        ("buckets: [{name: my-media, endpoint: 'http://h/path'}]\n", "take out the path"),
        ("buckets: [{name: my-media, hosts: ['http://h/']}]\n", "only the host name"),
        ("buckets: [{name: other, endpoint: 'http://127.0.0.1:1'}]\n", "ims: {endpoint"),
        ("limits: {SubmitMediaProducingJobs: 25/s}\n", "did you mean `SubmitMediaProducingJob`"),
        ("limits: {StartWorkflow: 10}\n", "10/s"),
        ("limits: {concurrent_calls: 0}\n", "from 1 to 256"),
        ("limits: [1]\n", "keys and values"),
        ("uncertain: {sweeps: true}\n", "whole number"),
        ("ledger: {url: 'postgresql://u:hunter2@h/db'}\n", "not supported in this version"),
        ("ledger: {url: oss.db}\n", "sqlite:///"),
        ("ledger: {url: 'sqlite:///:memory:'}\n", "sqlite:///"),
        ("never_trigger: out/\n", "write a list"),
        ("never_trigger: ['']\n", "oss://BUCKET/"),
        ("never_trigger: [/out/]\n", "Write out/"),
    ],
)
def test_a_wrong_section_says_what_to_write(folder: Path, text: str, said: str) -> None:
    lines = refused(folder, FOUR_LINES + text)
    assert any(line.startswith("config.yaml:5: ") and said in line for line in lines)
    assert not any("hunter2" in line for line in lines)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("''", "an empty text"),
        ("oss://my-media/in/", "region"),
        ("in/", "which bucket"),
        ("http://cdn.example.org/in/", "hosts:"),
        ("ftp://x/", "oss://BUCKET"),
        ("http://my-media.oss-accelerate.aliyuncs.com/in/", "region"),
    ],
)
def test_an_input_that_does_not_tell_enough(folder: Path, place: str, said: str) -> None:
    (line,) = refused(folder, f"rules:\n  - name: a\n    input: {place}\n    workflow: w\n")
    assert line.startswith("config.yaml:3: rules[0].input: ")
    assert said in line


def test_duplicate_ids_are_refused_where_they_are_written(folder: Path) -> None:
    text = (
        FOUR_LINES
        + "  - {name: b, id: transcode, input: 'http://my-media.oss-cn-hangzhou.aliyuncs.com/b/', workflow: w}\n"
    )
    (line,) = refused(folder, text)
    assert line.startswith("config.yaml:5: rules[1].id: ")
    assert "config.yaml:2" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no rule"),
        ("rules:\n", "write a list"),
        ("rules: []\n", "write a list"),
        ("rules:\n  - x\n", "keys and values"),
        ("- a\n", "begin with `rules:`"),
        ("rules: [\n", "this is no YAML"),
        ("rules:\n\t- a\n", "spaces, not with a tab"),
        ("a: &x [*x]\n", "alias"),
        ("rules: !!python/object x\n", "tag"),
        ("a: 1\n---\nb: 2\n", "this is no YAML"),
        ("a: " + "[" * 200, "this is no YAML"),
    ],
)
def test_a_file_that_is_no_configuration(folder: Path, text: str, said: str) -> None:
    assert said in "\n".join(refused(folder, text))


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read") as raised:
        load(folder / "none.yaml", {})
    assert "config init" in raised.value.hint
    (folder / "latin.yaml").write_bytes(b"rules:\n  - name: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: this is not UTF-8"):
        load(folder / "latin.yaml", {})


def test_yaml_is_version_1_2(folder: Path) -> None:
    text = "rules:\n  - {name: no, input: 'http://m.oss-cn-x.aliyuncs.com/a/', workflow: 2026-01-01}\n"
    (rule,) = read(folder, text).rules.rules
    assert (rule.name, rule.workflow_id) == ("no", "2026-01-01")


def test_thousands_of_equal_mistakes_are_cut_short(folder: Path) -> None:
    rule = "  - {name: a, input: 'http://m.oss-cn-x.aliyuncs.com/a/', workflow: 5}\n"
    lines = refused(folder, "rules:\n" + rule * 150)
    assert len(lines) == 101
    assert "more" in lines[-1]
