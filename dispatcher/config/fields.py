"""The kinds of values a configuration holds: each reads its own notation and describes it.

Every reader raises ValueError with a text that says what to write instead. A value that came from
the environment is text (`Substituted`); readers of numbers and switches take its digits or word.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from dispatcher.config.document import Substituted, resolve_scalar
from dispatcher.core.extensions import ANY, MEDIA, ExtensionSet
from dispatcher.core.location import authority_of, parse_oss_host
from dispatcher.core.matching import exclusion
from dispatcher.core.quantities import parse_budget, parse_duration, parse_monthly, parse_rate
from dispatcher.core.ratelimit import Rate
from dispatcher.core.templates import parse_template

if TYPE_CHECKING:
    from collections.abc import Callable

UNLIMITED = "unlimited"


def text_of(value: object, example: str) -> str:
    """Return a value that is text. Raises ValueError with the example."""
    if not isinstance(value, str):
        raise ValueError(f"expected text; write for example {example}")  # noqa: TRY004 - pydantic collects ValueErrors only
    return str(value)


def _own(value: object) -> object:
    """Return what a value from the environment means; any other as it is."""
    return resolve_scalar(str(value)) if isinstance(value, Substituted) else value


def read_duration(value: object) -> timedelta:
    """Read `30s`, `5m`, `2h`, `7d`; never zero."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"a duration needs its unit; write {value}s for seconds, or for example 5m")  # noqa: TRY004 - as above
    duration = parse_duration(text_of(value, "30s"))
    if not duration:
        raise ValueError("a duration of nothing; write for example 30s")
    return duration


def read_settle(value: object) -> timedelta | None:
    """Read a duration; `0s` is none at all."""
    if isinstance(value, str) and value == "0s":
        return None
    return read_duration(value)


NEVER = timedelta()
"""`every: never`: buckets are not listed."""


def read_every(value: object) -> timedelta | None:
    """Read a duration of at least a second, `auto` (None), or `never` (NEVER)."""
    if value == "auto":
        return None
    if value == "never":
        return NEVER
    duration = read_duration(value)
    if duration < timedelta(seconds=1):
        raise ValueError("listing more often than once a second is not taken; write auto, or for example 30s")
    return duration


def read_version(value: object) -> int:
    """Read the version of the file's format: 1."""
    if _own(value) is not True and _own(value) == 1:
        return 1
    raise ValueError("this program reads version: 1")


def read_rate(value: object) -> Rate:
    """Read `10/s`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"a rate needs its time; write {value}/s for calls in a second")  # noqa: TRY004 - as above
    return parse_rate(text_of(value, "10/s"))


def read_budget(value: object) -> int | None:
    """Read `10000/day`, or `unlimited` (None)."""
    text = text_of(value, "10000/day, or unlimited")
    return None if text == UNLIMITED else parse_budget(text)


def read_monthly(value: object) -> int:
    """Read `1M/month`."""
    return parse_monthly(text_of(value, "1M/month"))


def whole(lowest: int, highest: int) -> Callable[[object], int]:
    """Return the reader of a whole number in a range."""

    def read(value: object) -> int:
        number = _own(value)
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError(f"expected a whole number without quotes, from {lowest} to {highest}")  # noqa: TRY004 - as above
        if not lowest <= number <= highest:
            raise ValueError(f"{number} is out of range; write a whole number from {lowest} to {highest}")
        return number

    return read


def read_switch(value: object) -> bool:
    """Read `true` or `false`."""
    switch = _own(value)
    if not isinstance(switch, bool):
        raise ValueError("write true or false, without quotes")  # noqa: TRY004 - as above
    return switch


def read_extensions(value: object) -> ExtensionSet:
    """Read `media`, `any`, or a list of extensions in which `none` is a name without a dot."""
    if value == "media":
        return MEDIA
    if value == "any":
        return ANY
    advice = "write media, any, or a list such as [mp4, mov, none]"
    if not isinstance(value, list) or not value:
        raise ValueError(advice)
    for word in value:
        if not isinstance(word, str):
            raise ValueError(f"{word!r} is no text; quote it, or {advice}")  # noqa: TRY004 - as above
        if word.startswith(".") and word.count(".") == 1 and word != ".":
            raise ValueError(f"write {word[1:]} without the dot")
        if not word or "." in word or "/" in word:
            raise ValueError(f"{word!r} is no extension, which is what follows the last dot; {advice}")
        if word in ("media", "any"):
            raise ValueError(f"{word} stands alone; write extensions: {word}")
    return ExtensionSet.of(*map(str, value))


def read_existing(value: object) -> bool | datetime:
    """Read `ignore` (False), `dispatch` (True), or `{since: 2026-01-01}` (UTC where no zone is written)."""
    if value in ("ignore", "dispatch"):
        return value == "dispatch"
    advice = "write ignore, dispatch, or {since: 2026-01-01}"
    if not isinstance(value, dict) or set(value) != {"since"}:
        raise ValueError(advice)
    try:
        since = datetime.fromisoformat(text_of(value["since"], "2026-01-01"))
        since = since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("since is no date; write for example {since: 2026-01-01} or 2026-01-01T08:00:00Z") from None
    return since


def read_pattern(value: object) -> str:
    """Read one gitwildmatch pattern."""
    text = text_of(value, '"**/.tmp/**"')
    try:
        exclusion([text])
    except ValueError:
        raise ValueError(f'{text!r} is no pattern; write for example "**/.tmp/**"') from None
    if not text.strip() or text.startswith("#"):
        raise ValueError(f"{text!r} excludes nothing; take it out, or write \\# for a name that begins with #")
    return text


def read_template(value: object) -> str:
    """Read a text with placeholders."""
    text = text_of(value, '"oss://{bucket}/{key}"')
    parse_template(text)
    return text


class FaultWithinError(ValueError):
    """What is wrong inside a JSON value, and where in it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


def read_json_object(value: object) -> dict[str, object]:
    """Read a JSON object: keys and values, or JSON text. Its texts may hold placeholders, at any depth."""
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, dict):
        raise ValueError("write keys and values, such as {MediaURL: …}, or a JSON object as text")  # noqa: TRY004 - as above
    try:
        return {str(name): _json_value(inner, (str(name),)) for name, inner in value.items()}
    except RecursionError:
        raise ValueError("this is nested too deep") from None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} of it, column {error.colno}"
        raise ValueError(f"this text is no JSON ({error.msg}, {where}); mend it, or write keys and values") from None
    except RecursionError:
        raise ValueError("this is nested too deep") from None


def _json_value(value: object, path: tuple[str | int, ...]) -> object:
    """Return the value in plain types. Raises FaultWithinError."""
    match value:
        case dict():
            return {str(name): _json_value(inner, (*path, str(name))) for name, inner in value.items()}
        case list():
            return [_json_value(inner, (*path, place)) for place, inner in enumerate(value)]
        case str():
            try:
                parse_template(value)
            except ValueError as error:
                raise FaultWithinError(path, str(error)) from None
            return str(value)
        case float() if not math.isfinite(value):
            raise FaultWithinError(path, "JSON has no infinity and no NaN; write a finite number, or quote it")
        case _:
            return value


def read_user_data(value: object) -> dict[str, object]:
    """Read a JSON object whose texts may hold placeholders."""
    if not isinstance(value, dict | str):
        raise ValueError("write keys and values, such as {NotifyAddress: https://cb.example.com/ims}")  # noqa: TRY004 - as above
    fields = read_json_object(value)
    if "DispatchId" in fields:
        raise ValueError("DispatchId is ours: it carries the dispatch id; take it out")
    return fields


def read_endpoint(value: object) -> str:
    """Read `host[:port]` (https) or a full http(s) URL, and return the URL without a path."""
    text = text_of(value, "ice.cn-hangzhou.aliyuncs.com")
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "https", text
    if scheme.lower() not in ("http", "https"):
        raise ValueError("an endpoint is host[:port], http://host[:port] or https://host[:port]")
    host = rest.removesuffix("/")
    if "@" in host:
        raise ValueError("an endpoint has no user name or password; take out everything up to the @")
    if not host or any(mark in host for mark in "/?# \t\r\n"):
        raise ValueError("an endpoint is only host[:port]; take out the path, the bucket and the query")
    try:
        authority = authority_of(host)
    except ValueError:
        raise ValueError("the port of the endpoint is no number; write host:port") from None
    oss = parse_oss_host(authority.partition(":")[0])
    if oss is not None and oss.bucket is not None:
        raise ValueError(f"leave out the bucket: write {authority.removeprefix(oss.bucket + '.')}")
    return f"{scheme.lower()}://{host.lower()}"


def read_host(value: object) -> str:
    """Read a custom host name, as it stands in URLs: without scheme and path."""
    text = text_of(value, "media.example.com")
    if not text or "://" in text or any(mark in text for mark in "/?#@ \t"):
        raise ValueError("write only the host name, such as media.example.com")
    try:
        return authority_of(text)
    except ValueError:
        raise ValueError("the port is no number; write media.example.com or media.example.com:8080") from None


def described(kind: str, description: str, *examples: str) -> WithJsonSchema:
    """Return what an editor shows of a kind of value."""
    return WithJsonSchema({"type": kind, "description": description, "examples": list(examples)})


_DURATION = r"^([0-9]+(\.[0-9]+)?(ms|[smhdw]))+$"

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Duration = Annotated[
    timedelta,
    PlainValidator(read_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["30s", "5m", "7d"]}),
]
Settle = Annotated[
    timedelta | None,
    PlainValidator(read_settle),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["5m"]}),
]
Every = Annotated[
    timedelta | None,
    PlainValidator(read_every),
    described("string", "a duration, auto, or never", "auto", "30s", "never"),
]
CallRate = Annotated[
    Rate, PlainValidator(read_rate), described("string", "calls per second, minute or hour", "10/s", "600/m")
]
Budget = Annotated[
    int | None,
    PlainValidator(read_budget),
    described("string", "starts per UTC day, or unlimited", "10000/day", UNLIMITED),
]
Monthly = Annotated[int, PlainValidator(read_monthly), described("string", "requests per month", "1M/month")]
Switch = Annotated[bool, PlainValidator(read_switch), WithJsonSchema({"type": "boolean"})]
Extensions = Annotated[
    ExtensionSet,
    PlainValidator(read_extensions),
    WithJsonSchema(
        {
            "description": "media (the documented ones and none), any, or a list; none: names without a dot",
            "anyOf": [
                {"enum": ["media", "any"]},
                {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": r"^[^./]+$"}},
            ],
        }
    ),
]
ExistingObjects = Annotated[
    bool | datetime,
    PlainValidator(read_existing),
    WithJsonSchema(
        {
            "description": "what happens to objects that are older than the rule",
            "anyOf": [
                {"enum": ["ignore", "dispatch"]},
                {
                    "type": "object",
                    "properties": {"since": {"type": "string"}},
                    "required": ["since"],
                    "additionalProperties": False,
                },
            ],
        }
    ),
]
Pattern = Annotated[str, PlainValidator(read_pattern), described("string", "gitwildmatch on the key", "**/.tmp/**")]
MediaUrl = Annotated[
    str,
    PlainValidator(read_template),
    described("string", "what IMS is to read, with placeholders", "oss://{bucket}/{key}"),
]
JsonObject = Annotated[
    dict[str, object],
    PlainValidator(read_json_object),
    WithJsonSchema(
        {
            "description": "keys and values of the service, or JSON as text; texts in it may hold placeholders",
            "anyOf": [{"type": "object"}, {"type": "string"}],
        }
    ),
]
UserData = Annotated[
    dict[str, object],
    PlainValidator(read_user_data),
    WithJsonSchema(
        {
            "description": "JSON sent as UserData, also as text; texts in it may hold placeholders",
            "anyOf": [{"type": "object"}, {"type": "string"}],
        }
    ),
]
EndpointUrl = Annotated[
    str,
    PlainValidator(read_endpoint),
    described(
        "string", "host[:port] (https) or a full http(s) URL", "https://s3.oss-cn-hangzhou-internal.aliyuncs.com"
    ),
]
Host = Annotated[
    str, PlainValidator(read_host), described("string", "a custom domain of the bucket", "media.example.com")
]


def _whole_schema(lowest: int, highest: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": lowest, "maximum": highest})


Bytes = Annotated[int, PlainValidator(whole(0, 2**53)), _whole_schema(0, 2**53)]
ConcurrentCalls = Annotated[int, PlainValidator(whole(1, 256)), _whole_schema(1, 256)]
Sweeps = Annotated[int, PlainValidator(whole(1, 100)), _whole_schema(1, 100)]
Version = Annotated[int, PlainValidator(read_version), WithJsonSchema({"const": 1})]
