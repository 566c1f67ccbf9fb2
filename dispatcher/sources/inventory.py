"""The objects that an inventory of a bucket tells of: for buckets that are too large to list.

A data file is fetched as a whole to a temporary file, compared with the MD5 of the manifest, and only then read,
row by row: nothing of a damaged file is used, and memory does not grow. What an inventory says is a day old or more,
so its objects are hearsay: HEAD decides.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import tempfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from typing import IO, TYPE_CHECKING, Protocol

from dispatcher.core.events import LISTED, ObjectEvent
from dispatcher.core.inventory import InventoryFormatError, Manifest, parse_manifest, read_row
from dispatcher.core.location import object_url
from dispatcher.core.printable import printable
from dispatcher.errors import InventoryError
from dispatcher.sources.objects import SOURCE

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dispatcher.core.inventory import InventoryFile
    from dispatcher.sources.store import StoreBucket

_ROWS = 1_000
_CHUNK = 1024 * 1024
_LARGEST_MANIFEST = 64 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_AGAIN = "nothing of this file was used; look at it, or wait for the next inventory, then run the same command again"


class Shelf(Protocol):
    """Where the files of an inventory lie."""

    def fetch(self, key: str, to: IO[bytes], stop: threading.Event) -> str:
        """Write a file's bytes; return its full name for messages. Raises DispatcherError."""
        ...

    def manifest(self, to: IO[bytes], stop: threading.Event) -> str:
        """Write the manifest's bytes; return its full name for messages. Raises DispatcherError."""
        ...


@dataclass(frozen=True)
class BucketShelf:
    """An inventory in a bucket: its data files are in the bucket of its manifest."""

    bucket: StoreBucket
    manifest_key: str

    def fetch(self, key: str, to: IO[bytes], stop: threading.Event) -> str:
        """Download one object."""
        name = object_url(self.bucket.bucket.name, key)
        if not self.bucket.download(key, to, stop):
            raise InventoryError(
                f"there is no {printable(name)}",
                hint="check the URL; files of old inventories may have been deleted by the bucket's lifecycle",
            )
        return name

    def manifest(self, to: IO[bytes], stop: threading.Event) -> str:
        """Download the manifest."""
        return self.fetch(self.manifest_key, to, stop)


@dataclass(frozen=True)
class FolderShelf:
    """An inventory that was copied to a directory: data files are sought near the manifest, by name."""

    path: Path

    def fetch(self, key: str, to: IO[bytes], stop: threading.Event) -> str:  # noqa: ARG002 - a local copy does not last
        """Copy one file."""
        name = key.rpartition("/")[2]
        folder = self.path.parent
        places = [folder / name, folder / "data" / name, folder.parent / "data" / name]
        for place in places:
            if name not in ("", "..") and place.is_file():
                _copy(place, to)
                return str(place)
        raise InventoryError(
            f"the data file {printable(name)} is not beside {self.path}",
            hint="copy it into the manifest's folder or into data/ beside it, or name the manifest by its URL",
        )

    def manifest(self, to: IO[bytes], stop: threading.Event) -> str:  # noqa: ARG002 - as above
        """Copy the manifest."""
        if not self.path.is_file():
            raise InventoryError(f"there is no file {self.path}", hint="name the manifest.json of an inventory")
        _copy(self.path, to)
        return str(self.path)


@dataclass
class Inventory:
    """The objects of an inventory. Each iteration of `pages` reads anew. One thread at a time.

    `requests` counts the files that were fetched.
    """

    shelf: Shelf
    manifest: Manifest
    requests: int = field(default=0, init=False)

    @classmethod
    def open(cls, shelf: Shelf, stop: threading.Event) -> Inventory:
        """Read the manifest. Raises InventoryError for one that is not in the documented form."""
        with tempfile.TemporaryFile() as file:
            name = shelf.manifest(file, stop)
            file.seek(0)
            body = file.read(_LARGEST_MANIFEST)
        try:
            manifest = parse_manifest(body)
        except InventoryFormatError as error:
            raise InventoryError(
                f"{printable(name)} is not the manifest of an inventory that can be read: {error}",
                hint="name the manifest.json of a CSV inventory of OSS or S3",
            ) from error
        return cls(shelf, manifest)

    @property
    def list_requests(self) -> Mapping[str, int]:
        """None: files are fetched, and no bucket is listed."""
        return {}

    def pages(self, stop: threading.Event) -> Iterator[Sequence[ObjectEvent]]:
        """Yield its objects, some at a time; nothing more once `stop` is set.

        Raises InventoryError for a damaged file, DispatcherError when the store refuses or fails.
        """
        for each in self.manifest.files:
            if stop.is_set():
                return
            with tempfile.TemporaryFile() as file:
                name = printable(self.shelf.fetch(each.key, file, stop))
                self.requests += 1
                _verify(file, each, name)
                yield from self._rows(file, name, stop)

    def _rows(self, file: IO[bytes], name: str, stop: threading.Event) -> Iterator[Sequence[ObjectEvent]]:
        try:
            with _as_text(file) as text:
                found = (
                    each
                    for row in csv.reader(text, strict=True)
                    if (each := read_row(self.manifest.columns, row, self.manifest.source_bucket)) is not None
                )
                objects = (
                    ObjectEvent(
                        each.bucket,
                        each.key,
                        each.etag,
                        each.size,
                        each.modified_at,
                        event_name=LISTED,
                        source=SOURCE,
                        hearsay=True,
                    )
                    for each in found
                )
                while not stop.is_set() and (some := list(islice(objects, _ROWS))):
                    yield some
        except (InventoryFormatError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InventoryError(f"{name} cannot be read: {error}", hint=_AGAIN) from error


def _verify(file: IO[bytes], each: InventoryFile, name: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)  # what the manifest gives: it shows damage, not malice
    size = 0
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    if each.md5 is not None and digest.hexdigest() != each.md5:
        raise InventoryError(f"{name} has another MD5 than its manifest says", hint=_AGAIN)
    if each.size is not None and size != each.size:
        raise InventoryError(f"{name} has {size} bytes, and its manifest says {each.size}", hint=_AGAIN)


@contextmanager
def _as_text(file: IO[bytes]) -> Iterator[TextIOWrapper]:
    """Yield the text of a file that is gzipped, as documented, or was unpacked after it was copied."""
    packed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    with ExitStack() as stack:
        raw = stack.enter_context(gzip.GzipFile(fileobj=file)) if packed else file
        text = TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
        try:
            yield text
        finally:
            text.detach()  # the file is its owner's to close


def _copy(place: Path, to: IO[bytes]) -> None:
    with place.open("rb") as source:
        while chunk := source.read(_CHUNK):
            to.write(chunk)
