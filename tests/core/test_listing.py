from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core import listing
from dispatcher.core.events import encode_key
from dispatcher.core.listing import ListingPage, MalformedListingError, UnusualSpellingError

if TYPE_CHECKING:
    from collections.abc import Callable

Content = tuple[bytes, str | None, int]

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30) | st.sampled_from(
    ["<Key>", "</Contents><Contents>", "]]>", "&amp;", "&#34;", "a b+c%41", "<!--", "</ListBucketResult>", "%", "+"]
)
CONTENTS = st.lists(
    st.tuples(
        TEXT.map(encode_key),
        st.none() | st.from_regex(r"[0-9a-f]{1,32}(-[0-9]{1,4})?", fullmatch=True),
        st.integers(0, 10**15),
    ),
    max_size=8,
)


def entry(content: Content, *, url: bool, gap: str = "", rest: str = "") -> str:
    key, etag, size = content
    spelled = quote_from_bytes(key, safe="/") if url else escape(key.decode())
    tag = f'<ETag>"{etag.upper()}"</ETag>' if etag is not None else ""
    fields = [
        f"<Key>{spelled}</Key>",
        "<LastModified>2026-11-22T01:02:03.000Z</LastModified>",
        tag,
        rest,
        f"<Size>{size}</Size>",
        "<StorageClass>STANDARD</StorageClass>",
    ]
    return f"<Contents>{gap}{gap.join(field for field in fields if field)}{gap}</Contents>"


def body(entries: list[str], *, url: bool, gap: str = "", token: str | None = None) -> bytes:
    frame = [
        "<Name>b</Name>",
        "<EncodingType>url</EncodingType>" if url else "",
        f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>",
        f"<NextContinuationToken>{token}</NextContinuationToken>" if token else "",
    ]
    parts = [part for part in frame[:2] + entries + frame[2:] if part]
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="x">{gap}{gap.join(parts)}{gap}'
        "</ListBucketResult>"
    ).encode()


def contents(page: ListingPage) -> list[Content]:
    return [
        (
            listing.decode_raw_key(each.raw_key, url_encoded=page.url_encoded),
            listing.decode_raw_etag(each.raw_etag),
            each.size,
        )
        for each in listing.parse(page.entries, 0, len(page.entries))
    ]


@given(CONTENTS, st.booleans())
def test_the_scanner_and_the_xml_parser_read_the_same(listed: list[Content], url: bool) -> None:
    answer = body([entry(each, url=url) for each in listed], url=url, token="t&amp;1")
    scanned, parsed = listing.scan(answer), listing.respell(answer)
    assert contents(scanned) == contents(parsed) == listed
    assert (scanned.token, scanned.url_encoded) == (parsed.token, parsed.url_encoded) == ("t&1", url)


@given(CONTENTS, st.booleans(), st.sampled_from(["\n", "\r\n\t", "\n  "]))
def test_an_indented_answer_is_scanned_too(listed: list[Content], url: bool, gap: str) -> None:
    answer = body([entry(each, url=url, gap=gap + "  ") for each in listed], url=url, gap=gap)
    assert contents(listing.scan(answer)) == contents(listing.respell(answer)) == listed


@given(CONTENTS, st.booleans())
def test_entries_of_an_indented_answer_are_equal_wherever_they_stand(listed: list[Content], url: bool) -> None:
    one = [listing.scan(body([entry(each, url=url, gap="\n    ")], url=url, gap="\n  ")).entries for each in listed]
    all_of_them = listing.scan(body([entry(each, url=url, gap="\n    ") for each in listed], url=url, gap="\n  "))
    assert b"".join(one) == all_of_them.entries


@given(CONTENTS, st.booleans(), st.sampled_from(["<!-- c -->", "\n<!-- -->"]))
def test_any_spelling_comes_out_in_the_strict_shape(listed: list[Content], url: bool, gap: str) -> None:
    answer = body([entry(each, url=url, gap=gap) for each in listed], url=url, gap=gap)
    if listed:
        with pytest.raises(UnusualSpellingError):
            contents(listing.scan(answer))
    assert contents(listing.respell(answer)) == listed


def test_text_between_the_elements_of_the_frame_is_unusual() -> None:
    with pytest.raises(UnusualSpellingError):
        listing.scan(body([entry((b"a", None, 1), url=True)], url=True, gap="x"))


@pytest.mark.parametrize("gap", ["", "\n    "])
@pytest.mark.parametrize("read", [listing.scan, listing.respell])
@pytest.mark.parametrize(
    ("rest", "growing"),
    [
        ("<Type>Appendable</Type>", True),
        ("<Type>Appendable</Type><SealedTime>2026-11-22T01:02:03.000Z</SealedTime>", False),
        ("<SealedTime>2026-11-22T01:02:03.000Z</SealedTime><Type>Appendable</Type>", False),
        ("<Type>Normal</Type>", False),
        ("<Type>Multipart</Type>", False),
        ("<Type>Symlink</Type>", False),
        ("", False),
    ],
)
def test_an_appendable_object_may_grow_until_it_is_sealed(
    read: Callable[[bytes], ListingPage], gap: str, rest: str, growing: bool
) -> None:
    page = read(body([entry((b"Appendable", "e", 1), url=True, gap=gap, rest=rest)] * 2, url=True, gap=gap))
    assert [each.growing for each in listing.parse(page.entries, 0, len(page.entries))] == [growing] * 2


def test_a_key_that_spells_a_type_is_a_key() -> None:
    page = listing.scan(body([entry((b"<Type>Appendable</Type>", "e", 1), url=False)], url=False))
    assert [each.growing for each in listing.parse(page.entries, 0, len(page.entries))] == [False]


def test_an_entry_of_oss_as_it_is_documented() -> None:
    raw = b"""
  <Contents>
    <Key>fun/movie.avi</Key>
    <LastModified>2026-11-22T11:42:32.000Z</LastModified>
    <ETag>"5B3C1A2E053D763E1B002CC607C5A0FE1"</ETag>
    <Type>Normal</Type>
    <Size>344606</Size>
    <StorageClass>ColdArchive</StorageClass>
    <Owner>
      <ID>0022012</ID>
      <DisplayName>user-example</DisplayName>
    </Owner>
    <RestoreInfo>ongoing-request="true"</RestoreInfo>
    <TransitionTime>2026-11-22T11:42:32.000Z</TransitionTime>
  </Contents>"""
    [each] = listing.parse(raw, 0, len(raw))
    assert (each.raw_key, each.size, each.end) == (b"fun/movie.avi", 344606, len(raw))
    assert each.modified == b"2026-11-22T11:42:32.000Z"
    assert listing.decode_raw_etag(each.raw_etag) == "5b3c1a2e053d763e1b002cc607c5a0fe1"


@given(CONTENTS.filter(len), st.integers(1, 60))
def test_an_answer_that_is_cut_anywhere_is_refused(listed: list[Content], cut: int) -> None:
    answer = body([entry(each, url=True) for each in listed], url=True)
    with pytest.raises(MalformedListingError):
        listing.scan(answer[:-cut])
    with pytest.raises(MalformedListingError):
        listing.respell(answer[:-cut])


@given(st.binary(max_size=200))
def test_rubbish_is_refused_without_surprise(rubbish: bytes) -> None:
    for read in (listing.scan, listing.respell):
        with pytest.raises(MalformedListingError):
            read(rubbish)


def test_seaweedfs_puts_the_time_last() -> None:
    raw = b"<Contents><Key>a</Key><ETag>&#34;E&#34;</ETag><Size>1</Size><StorageClass>S</StorageClass>"
    raw += b"<LastModified>2026-11-22T06:49:24Z</LastModified></Contents>"
    [each] = listing.parse(raw, 0, len(raw))
    assert (each.raw_key, each.modified, each.size) == (b"a", b"2026-11-22T06:49:24Z", 1)


def test_fields_of_other_stores_are_passed_over() -> None:
    rest = "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Type>Normal</Type><Owner><ID>1</ID></Owner>"
    page = listing.scan(body([entry((b"a", "e", 1), url=True, rest=rest)] * 2, url=True))
    assert contents(page) == [(b"a", "e", 1)] * 2


@pytest.mark.parametrize(
    "spoilt",
    [
        b"<Contents><Key><![CDATA[a]]></Key><LastModified>x</LastModified><Size>1</Size></Contents>",
        b"<Contents><!-- --><Key>a</Key><LastModified>x</LastModified><Size>1</Size></Contents>",
        b"<Contents><Size>1</Size><Key>a</Key><LastModified>x</LastModified></Contents>",
        b"<Contents><Key>a</Key><LastModified>x</LastModified><Size>1</Size></Contents> ",
        b"<Contents><Key>a</Key><LastModified>x</LastModified><Size>-1</Size></Contents>",
        b"<Contents><Key></Key><LastModified>x</LastModified><Size>1</Size></Contents>",
    ],
)
def test_entries_in_another_shape_are_never_guessed(spoilt: bytes) -> None:
    with pytest.raises(UnusualSpellingError):
        list(listing.parse(spoilt, 0, len(spoilt)))


def test_cdata_comments_attributes_prefixes_and_order_are_read_by_the_parser() -> None:
    answer = (
        b'<s:ListBucketResult xmlns:s="x"><s:IsTruncated>false</s:IsTruncated><!-- c -->'
        b'<s:Contents a="1"><s:Size>3</s:Size><s:Key><![CDATA[<a>&b]]></s:Key><s:Owner><s:ID>Key</s:ID></s:Owner>'
        b"<s:LastModified>x</s:LastModified></s:Contents></s:ListBucketResult>"
    )
    assert contents(listing.respell(answer)) == [(b"<a>&b", None, 3)]


@pytest.mark.parametrize(
    "answer",
    [
        b'<!DOCTYPE l [<!ENTITY a "b">]><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>',
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>perhaps</IsTruncated></ListBucketResult>",
        b"<html><body>Welcome</body></html>",
        b"",
    ],
)
def test_what_is_no_listing_is_refused(answer: bytes) -> None:
    for read in (listing.scan, listing.respell):
        with pytest.raises(MalformedListingError):
            read(answer)


@pytest.mark.parametrize(
    ("raw", "url", "key"),
    [
        (b"a+b", True, b"a b"),
        (b"a%2Bb", True, b"a+b"),
        (b"a+b", False, b"a+b"),
        (b"a&amp;lt;", False, b"a&lt;"),
        (b"&#233;&#xE9;", False, "éé".encode()),
        (b"%ff%FE", True, b"\xff\xfe"),
    ],
)
def test_spellings_of_keys(raw: bytes, url: bool, key: bytes) -> None:
    assert listing.decode_raw_key(raw, url_encoded=url) == key


@pytest.mark.parametrize("raw", [b'"AB"', b"&#34;AB&#34;", b"&quot;ab&quot;", b"ab"])
def test_spellings_of_etags(raw: bytes) -> None:
    assert listing.decode_raw_etag(raw) == "ab"


def test_an_empty_etag_is_none() -> None:
    nothing: Any = [listing.decode_raw_etag(raw) for raw in (None, b"", b'""')]
    assert nothing == [None, None, None]
