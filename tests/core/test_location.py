"""Every way to write a location ends in the same (bucket, prefix), and a wrong one says what to write."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.location import (
    Location,
    Names,
    authority_of,
    is_bare,
    object_url,
    parse_location,
    parse_object,
    parse_oss_host,
)
from dispatcher.errors import LocationError

ONE = Names(
    buckets=frozenset({"my-media"}),
    hosts={"media.example.com": "my-media"},
    endpoints=frozenset({"127.0.0.1:8333", "minio.example.com", "[::1]:9000"}),
    only_bucket="my-media",
)
NONE = Names()
WANTED = Location("my-media", "in/a b")


@pytest.mark.parametrize(
    "text",
    [
        "http://my-media.oss-cn-hangzhou.aliyuncs.com/in/a%20b",
        "https://my-media.oss-cn-hangzhou.aliyuncs.com/in/a%20b",
        "HTTP://My-Media.OSS-CN-Hangzhou.Aliyuncs.COM/in/a%20b",
        "http://my-media.oss-cn-hangzhou.aliyuncs.com:80/in/a%20b",
        "http://my-media.oss-cn-hangzhou.aliyuncs.com./in/a%20b",
        "http://my-media.oss-cn-hangzhou-internal.aliyuncs.com/in/a%20b",
        "http://my-media.s3.oss-cn-hangzhou.aliyuncs.com/in/a%20b",
        "http://my-media.s3.oss-cn-hangzhou-internal.aliyuncs.com/in/a%20b",
        "http://my-media.oss-accelerate.aliyuncs.com/in/a%20b",
        "http://my-media.oss-accelerate-overseas.aliyuncs.com/in/a%20b",
        "http://my-media.cn-hangzhou.oss.aliyuncs.com/in/a%20b",
        "http://oss-cn-hangzhou.aliyuncs.com/my-media/in/a%20b",
        "https://media.example.com/in/a%20b",
        "https://MEDIA.example.com:443/in/a%20b",
        "http://media.example.com:8080/in/a%20b",
        "http://127.0.0.1:8333/my-media/in/a%20b",
        "http://[::1]:9000/my-media/in/a%20b",
        "https://minio.example.com/my-media/in/a%20b",
        "https://my-media.minio.example.com/in/a%20b",
        "oss://my-media/in/a b",
        "OSS://My-Media/in/a b",
        "s3://my-media/in/a b",
        "oss://my-media.oss-cn-hangzhou.aliyuncs.com/in/a b",
        "s3://my-media.s3.oss-cn-hangzhou.aliyuncs.com/in/a b",
        "oss://media.example.com/in/a b",
        "in/a b",
    ],
)
def test_all_forms_name_the_same_location(text: str) -> None:
    assert parse_location(text, ONE).location == WANTED
    assert parse_object(text, ONE) == ("my-media", "in/a b")


@pytest.mark.parametrize(
    ("host", "region", "endpoint"),
    [
        ("b.oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou", "https://s3.oss-cn-hangzhou.aliyuncs.com"),
        ("b.oss-cn-beijing-internal.aliyuncs.com", "cn-beijing", "https://s3.oss-cn-beijing-internal.aliyuncs.com"),
        ("b.ap-southeast-1.oss.aliyuncs.com", "ap-southeast-1", "https://s3.oss-ap-southeast-1.aliyuncs.com"),
        ("b.oss-accelerate.aliyuncs.com", None, None),
    ],
)
def test_the_host_tells_region_and_endpoint(host: str, region: str | None, endpoint: str | None) -> None:
    parsed = parse_location(f"http://{host}/x/", NONE)
    assert (parsed.region, parsed.endpoint) == (region, endpoint)


@pytest.mark.parametrize("text", ["http://b.oss-cn-hangzhou.aliyuncs.com", "oss://b", "oss://b/", "s3://b"])
def test_no_path_is_the_whole_bucket(text: str) -> None:
    assert parse_location(text, NONE).location == Location("b", "")
    with pytest.raises(LocationError, match="a bucket, not an object"):
        parse_object(text, NONE)


def test_percent_is_decoded_only_in_http_urls_and_plus_stays() -> None:
    assert parse_object("http://b.oss-cn-x.aliyuncs.com/a+%2B%25%E8%A7%86?"[:-1], NONE) == ("b", "a++%视")
    assert parse_object("oss://b/a+%2B?x#y", NONE) == ("b", "a+%2B?x#y")
    assert parse_object("a%20b", ONE) == ("my-media", "a%20b")


def test_slashes_inside_a_key_are_kept() -> None:
    assert parse_object("oss://b/a//b/", NONE) == ("b", "a//b/")
    assert parse_object("http://b.oss-cn-x.aliyuncs.com/a%2F%2Fb", NONE) == ("b", "a//b")


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("/incoming/", "Write incoming/"),
        ("//incoming/", "Write incoming/"),
        ("oss://b//incoming/", "Write oss://b/incoming/"),
        ("http://b.oss-cn-x.aliyuncs.com//in coming%3F/", "Write http://b.oss-cn-x.aliyuncs.com/in%20coming%3F/"),
        ("http://127.0.0.1:8333/my-media//in/", "Write http://127.0.0.1:8333/my-media/in/"),
        ("s3://b//incoming/", "Write s3://b/incoming/"),
        ("/", "oss://BUCKET/"),
    ],
)
def test_a_leading_slash_is_an_error_with_the_mended_text(text: str, mended: str) -> None:
    with pytest.raises(LocationError, match="begins with a slash") as raised:
        parse_location(text, ONE)
    assert mended in raised.value.hint


@pytest.mark.parametrize("text", ["s3://b//x", "http://127.0.0.1:8333/b//x", "http://b.minio.example.com//x"])
def test_an_object_of_another_store_may_begin_with_a_slash(text: str) -> None:
    assert parse_object(text, ONE) == ("b", "/x")


@pytest.mark.parametrize("text", ["/x", "oss://b//x", "http://b.oss-cn-x.aliyuncs.com//x"])
def test_an_object_of_oss_may_not(text: str) -> None:
    with pytest.raises(LocationError, match="begins with a slash"):
        parse_object(text, ONE)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "oss://BUCKET/"),
        ("ftp://b/x", "oss://BUCKET/PREFIX"),
        ("https:/b/x", "Two slashes"),
        ("oss:///x", "oss://BUCKET/PREFIX"),
        ("oss://b:80/x", "oss://BUCKET/PREFIX"),
        ("http://cdn.example.org/x", "hosts:"),
        ("http:///x", "hosts:"),
        ("http://127.0.0.1:8333/", "first part of the path"),
        ("http://oss-cn-x.aliyuncs.com/", "first part of the path"),
        ("http://media.example.com:http/x", "HOST:PORT"),
        ("my-media.oss-cn-hangzhou.aliyuncs.com/in/", "http://my-media.oss-cn-hangzhou.aliyuncs.com/in/"),
        ("media.example.com/in/", "http://media.example.com/in/"),
    ],
)
def test_a_wrong_text_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(LocationError) as raised:
        parse_location(text, ONE)
    assert advice in raised.value.hint


def test_a_bare_prefix_needs_exactly_one_bucket() -> None:
    with pytest.raises(LocationError, match="which bucket") as raised:
        parse_location("in/", Names(frozenset({"a", "b"})))
    assert "oss://BUCKET/in/" in raised.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "http://user:hunter2@b.oss-cn-x.aliyuncs.com/x",
        "http://user:hunter2/x@b.oss-cn-x.aliyuncs.com/x",
        "http://user:hunter2?x@b.oss-cn-x.aliyuncs.com/x",
        "oss://user:hunter2@b/x",
        "http://b.oss-cn-x.aliyuncs.com/x?Expires=1&Signature=hunter2",
        "http://b.oss-cn-x.aliyuncs.com//x?Signature=hunter2",
        "http://b.oss-cn-x.aliyuncs.com/x#hunter2",
        "http://other.example.org/x?sig=hunter2",
        "oss://b//x?Signature=hunter2",
        "http://b.oss-cn-x.aliyuncs.com?Signature=hunter2",
    ],
)
def test_neither_password_nor_signature_is_repeated(text: str) -> None:
    with pytest.raises(LocationError) as raised:
        parse_location(text, ONE)
    assert "hunter2" not in raised.value.message + raised.value.hint


def test_an_error_is_one_line_whatever_the_text_holds() -> None:
    with pytest.raises(LocationError) as raised:
        parse_location("/a\nb\udce8", ONE)
    assert "\n" not in raised.value.message
    raised.value.hint.encode()


def test_a_query_says_how_to_write_its_mark() -> None:
    with pytest.raises(LocationError) as raised:
        parse_location("http://b.oss-cn-x.aliyuncs.com/what?.mp4", NONE)
    assert "%3F" in raised.value.hint
    assert "%23" in raised.value.hint


@pytest.mark.parametrize("host", ["example.com", "oss-cn-x.example.com", "b.oss-.aliyuncs.com", "aliyuncs.com"])
def test_other_hosts_are_not_oss(host: str) -> None:
    assert parse_oss_host(host) is None


def test_ports_of_the_schemes_do_not_count() -> None:
    assert authority_of("Host.example:80") == authority_of("host.example.:443") == "host.example"
    assert authority_of("host.example:8080") == "host.example:8080"
    with pytest.raises(ValueError, match="x"):
        authority_of("host:x")


def test_a_location_covers_by_raw_text() -> None:
    assert Location("b", "A").covers("b", "AB/x.mp4")
    assert not Location("b", "A").covers("c", "AB/x.mp4")
    assert str(Location("b", "A/")) == "oss://b/A/"
    assert not is_bare("oss://b/x")


KEYS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=30)


@given(KEYS)
def test_an_object_url_reads_back(key: str) -> None:
    assert parse_object(object_url("b", key), NONE) == ("b", key)


@given(KEYS.filter(lambda key: not key.startswith("/")))
def test_a_quoted_http_url_reads_back(key: str) -> None:
    assert parse_object(f"http://b.oss-cn-x.aliyuncs.com/{quote(key, safe='/')}", NONE) == ("b", key)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_advice(text: str) -> None:
    assert advice_or_key(text)


def advice_or_key(text: str) -> str:
    try:
        return parse_object(text, ONE)[1]
    except LocationError as error:
        return error.hint
