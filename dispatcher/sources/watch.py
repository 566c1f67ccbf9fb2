"""Watching a directory tree by inotify: which paths were written, and whether everything was heard.

Hearing is never trusted alone: what is missed here (a full queue, a limit of watches, a directory that was
filled before it was watched) is found by the next scan. `Watch.missed` only makes that scan come at once.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import InotifyFD

from dispatcher.errors import FolderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watchdog.observers.inotify_c import CallbackId, InotifyEvent, Mask, WatchCallback, WatchDescriptor

# watchdog warns when a directory is watched that was watched, which happens to new ones, and logs what we tell better.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
logging.getLogger("watchdog").setLevel(logging.CRITICAL)

MOST_PATHS = 50_000
"""Paths that wait to be looked at; beyond them a scan finds the rest."""
_JOIN_SECONDS = 5.0
_WANTED: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]


class Watch(FileSystemEventHandler):
    """Collects paths below `root` from now until `close`. Thread-safe.

    Raises FolderError when the root cannot be watched.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root) + b"/"
        self._lock = threading.Lock()
        self._paths: dict[bytes, bool] = {}
        self._missed = False
        self.limited = False
        """Whether a directory could not be watched: then only scans see all of the tree."""
        try:
            self._descriptor = _Descriptor(self._overflow, self._limit)
            self._descriptor.start()
            self._observer = BaseObserver(InotifyFullEmitter, inotify_fd=self._descriptor)
        except OSError as error:
            raise _not_watched(root, error) from error
        try:
            self._observer.schedule(self, str(root), recursive=True, event_filter=_WANTED)
            self._observer.start()
        except OSError as error:
            self.close()
            raise _not_watched(root, error) from error

    def take(self) -> tuple[dict[bytes, bool], bool]:
        """Return the paths told of since the last call, each with whether its writer is done; and whether
        something was missed, so that only a scan tells what happened.
        """
        with self._lock:
            paths, self._paths = self._paths, {}
            missed, self._missed = self._missed, False
        return paths, missed

    @property
    def alive(self) -> bool:
        """Whether anything can still be heard; not after the root was deleted or unmounted."""
        emitters = self._observer.emitters
        return self._descriptor.is_alive() and bool(emitters) and all(each.is_alive() for each in emitters)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(_JOIN_SECONDS)
        if self._descriptor.is_alive():
            self._descriptor.stop()
            self._descriptor.join(_JOIN_SECONDS)

    # -- called by watchdog's threads -------------------------------------------------------------------

    def on_closed(self, event: FileSystemEvent) -> None:
        self._add(event.src_path, done=True)

    def on_moved(self, event: FileSystemEvent) -> None:
        if not event.is_directory:
            self._add(event.dest_path, done=True)

    def on_created(self, event: FileSystemEvent) -> None:
        # A hard link, or a file of a directory that came whole, is created and never closed.
        if not event.is_directory:
            self._add(event.src_path, done=False)

    def _add(self, text: bytes | str, *, done: bool) -> None:
        path = os.fsencode(text)
        if not path.startswith(self._root):
            return
        path = path[len(self._root) :]
        with self._lock:
            if path not in self._paths and len(self._paths) >= MOST_PATHS:
                self._missed = True
            else:
                self._paths[path] = done or self._paths.get(path, False)

    def _overflow(self) -> None:
        with self._lock:
            self._missed = True
        structlog.get_logger().warning(
            "folder.overflow",
            folder=os.fsdecode(self._root),
            hint="more changed at once than the kernel keeps; the folder is scanned now, nothing is lost."
            " Raise fs.inotify.max_queued_events if this is usual",
        )

    def _limit(self, path: bytes, error: OSError) -> None:
        if not self.limited:
            self.limited = True
            structlog.get_logger().warning(
                "folder.not_watched",
                directory=os.fsdecode(path),
                error=os.strerror(error.errno or 0),
                hint="it is scanned often instead, nothing is lost; raise fs.inotify.max_user_watches",
            )


class _Descriptor(InotifyFD):
    """Tells of what watchdog keeps to itself: a full queue, and directories that could not be watched."""

    def __init__(self, overflow: Callable[[], None], limit: Callable[[bytes, OSError], None]) -> None:
        super().__init__()
        self._tell_overflow = overflow
        self._tell_limit = limit

    def handle_event(self, event: InotifyEvent) -> None:
        super().handle_event(event)
        if event.is_queue_overflow:
            self._tell_overflow()

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        try:
            return super().add_callback(path, mask, callback, id_)
        except FileNotFoundError:
            raise
        except OSError as error:
            self._tell_limit(path, error)
            raise


def _not_watched(root: Path, error: OSError) -> FolderError:
    return FolderError(
        f"the folder {root} cannot be watched: {os.strerror(error.errno or 0)}",
        hint="check that it is mounted and may be read; raise fs.inotify.max_user_watches and max_user_instances,"
        " or set `polling: true` on the source",
    )
