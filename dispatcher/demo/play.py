"""The demo itself: uploads chapter by chapter, watches the real daemon, and checks the account."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher.config import load
from dispatcher.demo.report import Written, expected_ids, report
from dispatcher.demo.stage import running_daemon, running_stage
from dispatcher.demo.story import CHAPTERS, EXISTING
from dispatcher.demo.uploading import MediaTeam
from dispatcher.demo.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from dispatcher.core.settings import Settings
    from dispatcher.demo.report import Report
    from dispatcher.demo.stage import Stage
    from dispatcher.demo.story import Chapter, Upload

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def leaving_in_order() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal end the demo, once: what it started is stopped before it leaves."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        for each in _ENDS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, leave) for each in _ENDS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def staging(say: Callable[[str], None], *, keep: bool) -> Iterator[Path]:
    """Yield a new directory for everything the demo writes; it is removed at the end unless kept."""
    directory = Path(tempfile.mkdtemp(prefix="oss-dispatcher-demo-"))
    say(f"Everything is in {directory}" + ("" if keep else " (removed at the end; --keep keeps it)"))
    try:
        yield directory
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def playing(directory: Path, say: Callable[[str], None]) -> Iterator[Play]:
    """Run the servers and the daemon; what lies in the buckets before the first start is there already."""
    say("Starting a real S3 server (SeaweedFS) and a local service that verifies signatures ...")
    with running_stage(directory) as stage, closing(MediaTeam(stage.s3)) as team:
        say(f"  S3 server {stage.s3.endpoint}, service {stage.simulator.url}, config {stage.config}")
        team.make_buckets()
        settings = load(stage.config, {})
        say("")
        say(f"* {EXISTING.title}")
        written = [_write(team, upload, say) for upload in EXISTING.uploads]
        say("")
        say(f"Starting the daemon: oss-dispatcher -c {stage.config} run   (log: {stage.log})")
        with running_daemon(stage) as daemon:
            watch = Watch(settings.ledger.url, daemon, str(stage.log), say)
            watch.until_baseline(sum(len(settings.rules.roots(bucket)) for bucket in settings.rules.buckets()))
            say("  the first listing is complete; from now on every new object counts")
            yield Play(stage, settings, team, watch, say, written)
            say("")
            say("Draining the daemon and stopping the servers ...")


@dataclass
class Play:
    """A performance on a running stage."""

    stage: Stage
    settings: Settings
    team: MediaTeam
    watch: Watch
    say: Callable[[str], None]
    written: list[Written] = field(default_factory=list)

    def perform(self) -> Report:
        """Upload every chapter, wait for every task to end, and return the account."""
        for chapter in CHAPTERS:
            self._upload(chapter)
        # Whatever should not start had two more complete listings to do so.
        self.say("")
        self.say("Waiting for every task to end, and for two more listings ...")
        self.watch.until_final(expected_ids(self.written))
        self.watch.until_passes(2)
        return report(self.written, self.settings.rules, self.watch.rows(), self.stage.simulator.calls())

    def _upload(self, chapter: Chapter) -> None:
        self.say("")
        self.say(f"* {chapter.title}")
        known = {(each.upload.bucket, each.upload.key, each.etag) for each in self.written}
        for upload in chapter.uploads:
            one = _write(self.team, upload, self.say)
            again = (upload.bucket, upload.key, one.etag) in known
            self.written.append(Written(upload, one.etag, again=again))
        self.watch.until_started(expected_ids(self.written))

    def say_what_next(self, *, keep: bool) -> None:
        """Say which commands show more."""
        here = f"oss-dispatcher -c {self.stage.config}"
        if not keep:
            self.say("")
            self.say("To look around while it runs: oss-dispatcher demo --keep   (or: make demo ARGS=--keep)")
            return
        for line in (
            "",
            "It goes on running. In another terminal, try:",
            f"  {here} status",
            f"  {here} dispatches list --rule transcode",
            f"  {here} dispatches show s3://media/incoming/clips/trailer.mp4",
            f"  {here} explain --live s3://media/test1/x.mp4",
            f"  {here} check",
            f"  tail -f {self.stage.log}",
            "Ctrl-C ends it.",
        ):
            self.say(line)

    def wait_for_ctrl_c(self) -> None:
        """Return at Ctrl-C."""
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


def _write(team: MediaTeam, upload: Upload, say: Callable[[str], None]) -> Written:
    size = f" ({len(upload.content)} bytes, in parts)" if upload.multipart else ""
    say(f"  put {upload.bucket}/{upload.key}{size}: {upload.why}")
    return Written(upload, team.write(upload))
