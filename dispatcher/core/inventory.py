"""The inventory of a bucket, as OSS and S3 write it: a manifest, and gzipped CSV files of a told schema. Pure.

Sources: "Bucket inventory" (OSS) and "Amazon S3 Inventory". Both write the same manifest; keys in the CSV are
URL-encoded, and `IsLatest` and `IsDeleteMarker` are there where all versions are listed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from dispatcher.core.events import normalise_etag

if TYPE_CHECKING:
    from collections.abc import Sequence

_MD5 = re.compile(r"[0-9a-f]{32}")
_ARN = "arn:"
_LATEST_SECONDS = 10**11
"""A larger creationTimestamp is in milliseconds."""


class InventoryFormatError(ValueError):
    """The manifest or a row of the inventory is not in the documented form."""


@dataclass(frozen=True, slots=True)
class InventoryFile:
    """One data file: its key in the destination bucket, its size, and its MD5 if the manifest gives it."""

    key: str
    size: int | None
    md5: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says. `columns` are lower-case names, in the order of the file."""

    source_bucket: str
    destination_bucket: str
    created_at: datetime | None
    columns: tuple[str, ...]
    files: tuple[InventoryFile, ...]


@dataclass(frozen=True, slots=True)
class InventoryObject:
    """One row that stands for an object. What the inventory does not tell is None; `etag` is normalised."""

    bucket: str
    key: str
    etag: str | None
    size: int | None
    modified_at: datetime | None


def parse_manifest(body: bytes) -> Manifest:
    """Read `manifest.json`. Raises InventoryFormatError, which says what is wrong with it."""
    try:
        parts = json.loads(body)
    except ValueError as error:
        raise InventoryFormatError("it is no JSON") from error
    if not isinstance(parts, dict):
        raise InventoryFormatError("it is no JSON object")
    kind = parts.get("fileFormat")
    if kind != "CSV":
        raise InventoryFormatError(f"its files are {str(kind)[:20]!r}, and only CSV is read")
    columns = tuple(each.strip().lower() for each in _text(parts, "fileSchema").split(","))
    if "key" not in columns:
        raise InventoryFormatError("its fileSchema has no Key")
    files = parts.get("files")
    if not isinstance(files, list):
        raise InventoryFormatError("it has no list `files`")
    return Manifest(
        source_bucket=_text(parts, "sourceBucket"),
        destination_bucket=_bucket_name(_text(parts, "destinationBucket")),
        created_at=_created(parts.get("creationTimestamp")),
        columns=columns,
        files=tuple(_file(each) for each in files),
    )


def read_row(columns: Sequence[str], row: Sequence[str], bucket: str) -> InventoryObject | None:
    """Return what a row stands for; None for a delete marker or a version that is not the latest.

    Raises InventoryFormatError for a row that does not fit the columns.
    """
    if len(row) != len(columns):
        raise InventoryFormatError(f"a row has {len(row)} columns, and the schema {len(columns)}")
    cells = dict(zip(columns, row, strict=True))
    if cells.get("isdeletemarker", "").lower() == "true" or cells.get("islatest", "").lower() == "false":
        return None
    size = cells.get("size", "")
    if size and not (size.isascii() and size.isdigit()):
        raise InventoryFormatError(f"a row has the size {size[:20]!r}")
    return InventoryObject(
        bucket=cells.get("bucket") or bucket,
        key=unquote_plus(cells["key"], errors="surrogateescape"),
        etag=normalise_etag(cells.get("etag", "")) or None,
        size=int(size) if size else None,
        modified_at=_time(cells.get("lastmodifieddate", "")),
    )


def _text(parts: dict[str, object], name: str) -> str:
    value = parts.get(name)
    if not isinstance(value, str) or not value:
        raise InventoryFormatError(f"it has no {name}")
    return value


def _bucket_name(text: str) -> str:
    """Return the bucket of S3's ARN form, or the plain name that OSS writes."""
    return text.rpartition(":")[2] if text.startswith(_ARN) else text


def _file(parts: object) -> InventoryFile:
    if not isinstance(parts, dict) or not isinstance(parts.get("key"), str) or not parts["key"]:
        raise InventoryFormatError("an entry of `files` has no key")
    size, md5 = parts.get("size"), str(parts.get("MD5checksum") or "").lower()
    if md5 and _MD5.fullmatch(md5) is None:
        raise InventoryFormatError(f"the MD5checksum of {parts['key']!r} is no MD5")
    return InventoryFile(parts["key"], size if isinstance(size, int) else None, md5 or None)


def _created(value: object) -> datetime | None:
    """Return the time of creationTimestamp: seconds (OSS) or milliseconds (S3) since 1970."""
    text = str(value)
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    try:
        return datetime.fromtimestamp(number / 1_000 if number > _LATEST_SECONDS else number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _time(text: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
