"""Inventories in a bucket and in a directory: read row by row, and only after their digest was compared."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.settings import Addressing, BucketSettings, Credentials
from dispatcher.errors import InventoryError
from dispatcher.sources.inventory import BucketShelf, FolderShelf, Inventory
from dispatcher.sources.s3 import S3Bucket
from tests.service.fakes import make_bucket as make_bucket_settings

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.demo.s3server import S3Server

STOP = threading.Event()
ROWS = b'"media","in/1.mp4","5","e1"\n"media","in/a%20b.mp4","6","e2"\n'


def manifest(*files: tuple[str, bytes], md5: str | None = None) -> bytes:
    """Return a manifest of these files, with their real digests unless `md5` is given."""
    return json.dumps(
        {
            "sourceBucket": "media",
            "destinationBucket": "logs",
            "fileFormat": "CSV",
            "fileSchema": "Bucket, Key, Size, ETag",
            "files": [
                {
                    "key": key,
                    "size": len(body),
                    "MD5checksum": md5 or hashlib.md5(body, usedforsecurity=False).hexdigest(),
                }
                for key, body in files
            ],
        }
    ).encode()


def keys(inventory: Inventory) -> list[str]:
    return [event.key for page in inventory.pages(STOP) for event in page]


def test_in_a_bucket_it_is_read_through_the_store(moto: S3Server, moto_bucket: tuple[Any, str]) -> None:
    client, name = moto_bucket
    packed = gzip.compress(ROWS)
    client.put_object(Bucket=name, Key="inv/data/1 a.csv.gz", Body=packed)
    client.put_object(Bucket=name, Key="inv/day/manifest.json", Body=manifest(("inv/data/1 a.csv.gz", packed)))
    settings = make_settings_of(moto, name)
    bucket = S3Bucket(settings, lambda: Credentials(moto.access_key_id, moto.access_key_secret))
    inventory = Inventory.open(BucketShelf(bucket, "inv/day/manifest.json"), STOP)
    [page] = list(inventory.pages(STOP))
    assert [(each.bucket, each.key, each.etag, each.size) for each in page] == [
        ("media", "in/1.mp4", "e1", 5),
        ("media", "in/a b.mp4", "e2", 6),
    ]
    assert not any(each.decided for each in page)
    with pytest.raises(InventoryError, match="there is no"):
        Inventory.open(BucketShelf(bucket, "inv/other/manifest.json"), STOP)
    bucket.close()


def make_settings_of(server: S3Server, name: str) -> BucketSettings:
    found = make_bucket_settings(name)
    return replace(found, endpoint=server.endpoint, region=server.region, addressing=Addressing.PATH, on_oss=False)


def write(folder: Path, name: str, body: bytes, said: bytes | None = None) -> FolderShelf:
    place = folder / "day" / "manifest.json"
    for each in (place.parent, folder / "data"):
        each.mkdir(exist_ok=True)
    (folder / "data" / name).write_bytes(body)
    place.write_bytes(said or manifest((f"inv/media/data/{name}", body)))
    return FolderShelf(place)


@pytest.mark.parametrize("body", [gzip.compress(ROWS), ROWS], ids=["gzipped", "plain"])
def test_in_a_directory_its_data_lie_beside_the_manifest(tmp_path: Path, body: bytes) -> None:
    shelf = write(tmp_path, "1.csv.gz", body)
    assert keys(Inventory.open(shelf, STOP)) == ["in/1.mp4", "in/a b.mp4"]


def test_more_rows_than_a_page_come_in_pages(tmp_path: Path) -> None:
    rows = b"".join(b'"media","%d.mp4","1","e"\n' % number for number in range(2_500))
    inventory = Inventory.open(write(tmp_path, "1.csv.gz", gzip.compress(rows)), STOP)
    assert [len(page) for page in inventory.pages(STOP)] == [1_000, 1_000, 500]


def test_a_damaged_file_is_told_before_any_of_it_is_used(tmp_path: Path) -> None:
    body = gzip.compress(ROWS)
    for said in (manifest(("1.csv.gz", body), md5="0" * 32), manifest(("1.csv.gz", body + b"x"))):
        shelf = write(tmp_path, "1.csv.gz", body, said)
        with pytest.raises(InventoryError, match="manifest says"):
            next(Inventory.open(shelf, STOP).pages(STOP))


@pytest.mark.parametrize(
    "body",
    [gzip.compress(ROWS)[:-9], b'"media","k"\n', b'"media","k","x","e"\n'],
    ids=["cut off", "too few columns", "no number"],
)
def test_a_file_that_is_not_what_the_schema_says_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(InventoryError, match="cannot be read"):
        keys(Inventory.open(write(tmp_path, "1.csv.gz", body), STOP))


def test_a_missing_data_file_says_where_it_belongs(tmp_path: Path) -> None:
    shelf = write(tmp_path, "1.csv.gz", ROWS, manifest(("inv/\x1b[2J/../2.csv.gz", ROWS)))
    with pytest.raises(InventoryError) as caught:
        keys(Inventory.open(shelf, STOP))
    assert "2.csv.gz" in caught.value.message
    with pytest.raises(InventoryError, match="there is no file"):
        Inventory.open(FolderShelf(tmp_path / "none.json"), STOP)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InventoryError, match=r"not the manifest"):
        Inventory.open(FolderShelf(tmp_path / "other.json"), STOP)
