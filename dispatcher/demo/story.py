"""What the demo uploads, under which rules, and what must start: written down by hand, so that the
program is measured against the documentation and not against itself.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = "documented"
MEDIA = "media"
BUCKETS = (TABLE, MEDIA)
MEDIA_URL = "oss://demo-mirror/{bucket}/{key}"
"""What the service is told to read: the demo's store is not OSS, so a mirror on OSS is made believe."""
MULTIPART_SIZE = 5 * 1024 * 1024 + 4096
"""Bytes of the multipart upload: one full part of the smallest legal size, and a little one."""


@dataclass(frozen=True, slots=True)
class DemoRule:
    """One rule of the demo's configuration; each has a workflow of its own."""

    name: str
    bucket: str
    prefix: str
    options: tuple[str, ...] = ()

    @property
    def workflow(self) -> str:
        return f"demo-{self.name}"


@dataclass(frozen=True, slots=True)
class Upload:
    """One object to write, and the rules it must start: each exactly once."""

    bucket: str
    key: str
    starts: tuple[str, ...]
    why: str
    content: bytes = b"a short film"

    @property
    def multipart(self) -> bool:
        return len(self.content) >= MULTIPART_SIZE


@dataclass(frozen=True, slots=True)
class Chapter:
    """Uploads that belong together. Each chapter waits until the one before it is started."""

    title: str
    uploads: tuple[Upload, ...]


RULES = (
    DemoRule("row-1", TABLE, "A/B/C/"),
    DemoRule("row-2", TABLE, "A/B/"),
    DemoRule("row-3", TABLE, "A/"),
    DemoRule("row-4", TABLE, ""),
    DemoRule("row-5", TABLE, "A/B/C/test.flv", ("match: documented",)),
    DemoRule("row-6", TABLE, "A/B/CC/"),
    DemoRule("row-7", TABLE, "A/B2/"),
    DemoRule("row-8", TABLE, "A2/B/C/"),
    DemoRule("test", MEDIA, "test"),
    DemoRule("test1", MEDIA, "test1"),
    DemoRule("transcode", MEDIA, "incoming/", ('exclude: ["**/.tmp/**"]',)),
    DemoRule("clips", MEDIA, "incoming/clips/", ("extensions: [mp4]",)),
)

NEVER_TRIGGER = "incoming/transcoded/"
"""Under the input of `transcode`: where a workflow would write its results."""

EXISTING = Chapter(
    "Already in the bucket before the first start: recorded, and nothing starts",
    (
        Upload(MEDIA, "incoming/archive-2019.mp4", (), "there before the rules"),
        Upload(MEDIA, "incoming/clips/archive-2020.mp4", (), "there before the rules"),
    ),
)

_TRAILER = "incoming/clips/trailer.mp4"

CHAPTERS = (
    Chapter(
        "The eight rows of the documentation: one file, eight bound paths",
        (
            Upload(
                TABLE,
                "A/B/C/test1.flv",
                ("row-1", "row-2", "row-3", "row-4", "row-5"),
                "rows 1 to 5 match, rows 6 to 8 do not",
            ),
        ),
    ),
    Chapter(
        "A bound path is the beginning of a key, not a folder: `test` also takes `test1`",
        (
            Upload(MEDIA, "test/x.mp4", ("test",), "begins with `test` only"),
            Upload(MEDIA, "test1/x.mp4", ("test", "test1"), "begins with both"),
        ),
    ),
    Chapter(
        "Overlapping rules, extensions, and what never starts anything",
        (
            Upload(MEDIA, _TRAILER, ("transcode", "clips"), "two rules over one folder: both start"),
            Upload(MEDIA, "incoming/clips/poster.gif", ("transcode",), "`clips` takes mp4 only"),
            Upload(MEDIA, "incoming/INTERVIEW.MOV", ("transcode",), "extensions are compared without case"),
            Upload(MEDIA, "incoming/readme.txt", (), "txt is no media extension"),
            Upload(MEDIA, "incoming/master-tape", ("transcode",), "a name without a dot passes"),
            Upload(MEDIA, "incoming/season-1/", (), "a folder marker is not a file", content=b""),
            Upload(MEDIA, "incoming/empty.mp4", (), "nothing is in it", content=b""),
            Upload(MEDIA, "incoming/.tmp/upload.mp4", (), "excluded by the rule"),
            Upload(MEDIA, "incoming/transcoded/film.mp4", (), "under never_trigger: no loops"),
            Upload(MEDIA, "elsewhere/film.mp4", (), "under no rule"),
        ),
    ),
    Chapter(
        "Keys of all kinds, and a large file in parts",
        (
            Upload(MEDIA, "incoming/电影 预告片.mp4", ("transcode",), "any Unicode"),
            Upload(MEDIA, "incoming/a+b & 100%25.mp4", ("transcode",), "`+`, `&`, `%` and spaces as they are"),
            Upload(MEDIA, "incoming/Überraschung 🎬.webm", ("transcode",), "any Unicode"),
            Upload(
                MEDIA,
                "incoming/feature-film.mkv",
                ("transcode",),
                "multipart: seen once, when it is complete",
                content=b"frames. " * (MULTIPART_SIZE // 8),
            ),
        ),
    ),
    Chapter(
        "The same key again: new content starts again, the same content does not",
        (
            Upload(
                MEDIA, _TRAILER, ("transcode", "clips"), "overwritten with a new cut", content=b"the director's cut"
            ),
            Upload(MEDIA, "incoming/INTERVIEW.MOV", (), "the same bytes written once more"),
        ),
    ),
)
