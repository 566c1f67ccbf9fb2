"""Logging: one line for each state change, with stable event names, safe to read and to keep.

JSON when the stream is not a terminal. Object keys are data of strangers: control characters,
terminal escapes and direction marks are escaped. What looks like a secret or a signature is
masked wherever it stands, so that no careless message can leak one.
"""

from __future__ import annotations

import logging
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from dispatcher.core.printable import printable

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

MASK = "***"
_SECRET_NAMES = re.compile(r"secret|password|authorization|signature$|security_token|access_key_secret", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?i)("
    r"(?:x-(?:amz|oss|acs)-(?:signature|security-token|credential)|signature|security[-_]?token"
    r"|access_?key_?secret|password|authorization)"
    r"[\\\"']*\s*(?:[=:]|%3D)\s*[\\\"']*)"  # as a query, a header, JSON, or JSON inside a string
    r"(?:(?:[A-Z0-9]+-HMAC-SHA256|MNS|OSS|Bearer|Basic)\s+)?[^\s&\"'\\]+"
)


def masked(text: str) -> str:
    """Return the text without the values of signatures, tokens and authorization headers."""
    return _SECRET_TEXT.sub(rf"\1{MASK}", text)


def _safe(value: object) -> object:
    if isinstance(value, str):
        return masked(printable(value))
    if isinstance(value, dict):
        return {key: MASK if _SECRET_NAMES.search(str(key)) else _safe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(each) for each in value]
    return value


def _make_safe(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        event[name] = MASK if _SECRET_NAMES.search(name) else _safe(value)
    return event


class _Lines:
    """A stream that loses a line rather than ending the work: its disk may be the one that is full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def configure(*, stream: TextIO | None = None, verbose: bool = False, quiet: bool = False) -> None:
    """Set up logging for the process: to stderr, JSON unless it is a terminal."""
    stream = stream or sys.stderr
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    renderer: Any = (
        structlog.dev.ConsoleRenderer(pad_event_to=28)
        if stream.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=True)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            _make_safe,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Lines(stream))),
        cache_logger_on_first_use=False,
    )
    # Libraries speak through the standard logger; only their warnings matter, in our format.
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(logging.WARNING)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


class _Forward(logging.Handler):
    """Passes a library's log record on as one of our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        log = get_logger()
        log.log(record.levelno, "library.message", logger=record.name, message=record.getMessage())


def get_logger() -> FilteringBoundLogger:
    """Return the program's logger; `configure` decides where it writes."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger
