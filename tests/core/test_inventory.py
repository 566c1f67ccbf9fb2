"""Manifests and rows as OSS and S3 document them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.core.inventory import (
    InventoryFile,
    InventoryFormatError,
    InventoryObject,
    Manifest,
    parse_manifest,
    read_row,
)

MD5 = "f77449179760c3b13f1e76110f07a5c1"
OSS: dict[str, Any] = {
    "creationTimestamp": "1642994594",
    "destinationBucket": "logs",
    "fileFormat": "CSV",
    "fileSchema": "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag",
    "files": [{"MD5checksum": MD5.upper(), "key": "inv/media/all/data/a1.csv.gz", "size": 2046}],
    "sourceBucket": "media",
    "version": "2019-09-01",
}
S3: dict[str, Any] = {
    "sourceBucket": "media",
    "destinationBucket": "arn:aws:s3:::logs",
    "version": "2016-11-30",
    "creationTimestamp": "1642994594000",
    "fileFormat": "CSV",
    "fileSchema": "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag",
    "files": [{"key": "inv/media/all/data/a1.csv.gz", "size": 2046, "MD5checksum": MD5}],
}
COLUMNS = ("bucket", "key", "versionid", "islatest", "isdeletemarker", "size", "lastmodifieddate", "etag")


def body(parts: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**parts, **changes}).encode()


@pytest.mark.parametrize("parts", [OSS, S3], ids=["oss", "s3"])
def test_both_manifests_say_the_same(parts: dict[str, Any]) -> None:
    assert parse_manifest(body(parts)) == Manifest(
        source_bucket="media",
        destination_bucket="logs",
        created_at=datetime(2022, 1, 24, 3, 23, 14, tzinfo=UTC),
        columns=COLUMNS,
        files=(InventoryFile("inv/media/all/data/a1.csv.gz", 2046, MD5),),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fileFormat": "ORC"}, "only CSV"),
        ({"fileSchema": "Bucket, Size"}, "no Key"),
        ({"files": None}, "no list"),
        ({"files": [{"size": 1}]}, "no key"),
        ({"files": [{"key": "k", "MD5checksum": "x"}]}, "no MD5"),
        ({"sourceBucket": ""}, "no sourceBucket"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_reason(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InventoryFormatError, match=said):
        parse_manifest(body(OSS, **changes))


@pytest.mark.parametrize("raw", [b"[]", b"{", b"\xff"])
def test_other_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(InventoryFormatError):
        parse_manifest(raw)


def test_a_row_is_an_object_with_its_key_decoded() -> None:
    row = ["media", "in/a+b%20%C3%BC%2B.mp4", "v1", "true", "false", "12", "2026-01-02T03:04:05.000Z", '"ABCD-2"']
    assert read_row(COLUMNS, row, "other") == InventoryObject(
        "media", "in/a b ü+.mp4", "abcd-2", 12, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    )


def test_what_the_inventory_leaves_out_is_unknown() -> None:
    assert read_row(("key",), ["in/1.mp4"], "media") == InventoryObject("media", "in/1.mp4", None, None, None)
    assert read_row(("key", "size"), ["in/%FF", ""], "media") == InventoryObject("media", "in/\udcff", None, None, None)


@pytest.mark.parametrize(("latest", "marker"), [("false", "false"), ("true", "true"), ("FALSE", "")])
def test_old_versions_and_delete_markers_stand_for_no_object(latest: str, marker: str) -> None:
    assert read_row(COLUMNS, ["media", "k", "v", latest, marker, "1", "", ""], "media") is None


@pytest.mark.parametrize("row", [["media"], ["media", "k", "v", "true", "false", "1e3", "", ""]])
def test_a_row_that_does_not_fit_is_refused(row: list[str]) -> None:
    with pytest.raises(InventoryFormatError):
        read_row(COLUMNS, row, "media")
