"""The documented limits of editing jobs (SubmitMediaProducingJob), checked before a call is spent. Pure.

The numbers are those of the service's pages "SubmitMediaProducingJob" and "Editing and production
parameters". The same check reads a configuration, where placeholders still wait for an object and are
judged as far as they are known, and a rendered call, where nothing waits any more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from dispatcher.core.media_urls import elsewhere, known_text, not_on_oss
from dispatcher.core.rules import EditingAction, OutputMediaTarget
from dispatcher.core.templates import Template
from dispatcher.core.unsendable import LimitBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SIDE = (128, 4096)
"""Pixels that the output may be wide, and high."""
SHORTER_SIDE = 2160
"""Pixels that the shorter side of the output may have."""
BITRATE = (1, 5000)
"""`Bitrate` of the output, in kbit/s."""
TRACKS = 100
"""Tracks of one kind that a timeline may have."""

_OUTPUT = "output_media_config"
_NUMBERS = {"Width": (SIDE, "pixels"), "Height": (SIDE, "pixels"), "Bitrate": (BITRATE, "kbit/s")}


def resolved(action: EditingAction, change: Callable[[object], object]) -> EditingAction:
    """Return the action with each of its JSON values changed; UserData is not one of them."""

    def changed(value: Mapping[str, object] | None) -> Mapping[str, object] | None:
        return None if value is None else {name: change(inner) for name, inner in value.items()}

    return replace(
        action,
        output_media_config=changed(action.output_media_config) or {},
        timeline=changed(action.timeline),
        clips_param=changed(action.clips_param),
        editing_produce_config=changed(action.editing_produce_config),
        media_metadata=changed(action.media_metadata),
        project_metadata=changed(action.project_metadata),
    )


def broken_limits(action: EditingAction, region: str | None, regions: Mapping[str, str]) -> Iterator[LimitBroken]:
    """Yield every documented limit that a job would break.

    The action's texts are rendered; one that still waits for an object is a `Template`. `region` is
    the service's, None for unknown; `regions` tells that of buckets and of their custom hosts.
    """
    if action.template_id is not None and not action.clips_param:
        yield LimitBroken(
            ("clips_param",), "a template needs its materials; write the template's own names, such as {Video: '{url}'}"
        )
    yield from _numbers(action.output_media_config)
    yield from _destination(action)
    yield from _tracks(action.timeline or {})
    if region is not None:
        yield from _elsewhere(action, region, regions)


# -- numbers --------------------------------------------------------------------------------------


def _numbers(output: Mapping[str, object]) -> Iterator[LimitBroken]:
    for name, ((least, most), unit) in _NUMBERS.items():
        value = output.get(name)
        if value is None or isinstance(value, Template):
            continue
        number = _whole(value)
        if number is None:
            yield LimitBroken((_OUTPUT, name), f"write a whole number from {least} to {most} ({unit})")
        elif not least <= number <= most:
            yield LimitBroken((_OUTPUT, name), f"{number} {unit} is out of range; the service takes {least} to {most}")
    sides = [_whole(output.get(name)) for name in ("Width", "Height")]
    known = [side for side in sides if side is not None]
    if len(known) == len(sides) and min(known) > SHORTER_SIDE:
        yield LimitBroken(
            (_OUTPUT, "Height" if known[1] <= known[0] else "Width"),
            f"the shorter side has {min(known)} pixels; the service takes at most {SHORTER_SIDE}",
        )


def _whole(value: object) -> int | None:
    """Return a whole number, also of its digits as text: a rendered placeholder is always text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:  # noqa: PLR2004 - more is out of every range
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _tracks(timeline: Mapping[str, object]) -> Iterator[LimitBroken]:
    for name, tracks in timeline.items():
        if name.endswith("Tracks") and isinstance(tracks, list) and len(tracks) > TRACKS:
            yield LimitBroken(("timeline", name), f"{len(tracks)} tracks; the service takes at most {TRACKS} of a kind")


# -- where the output goes ------------------------------------------------------------------------


def _destination(action: EditingAction) -> Iterator[LimitBroken]:
    output = action.output_media_config
    match action.output_media_target:
        case OutputMediaTarget.OSS_OBJECT:
            fault = _missing(output, "MediaURL") or not_on_oss(output["MediaURL"])
            if fault is not None:
                yield LimitBroken((_OUTPUT, "MediaURL"), fault)
        case OutputMediaTarget.VOD_MEDIA:
            for name, unfit, advice in (
                ("StorageLocation", "://", "write only the host, such as outin-1.oss-cn-shanghai.aliyuncs.com"),
                ("FileName", "/", "a file name has no folders; write for example '{stem}-{dispatch_id}.mp4'"),
            ):
                fault = _missing(output, name) or (advice if unfit in known_text(output[name]) else None)
                if fault is not None:
                    yield LimitBroken((_OUTPUT, name), fault)
        case OutputMediaTarget.S3:
            # What the S3 target needs is documented with credentials; the service judges it.
            return
        case _:
            assert_never(action.output_media_target)


def _missing(output: Mapping[str, object], name: str) -> str | None:
    value = output.get(name)
    if isinstance(value, Template) or (isinstance(value, str) and value):
        return None
    return "this text is missing; the output needs it (see output_media_target)"


# -- regions --------------------------------------------------------------------------------------


def _elsewhere(action: EditingAction, region: str, regions: Mapping[str, str]) -> Iterator[LimitBroken]:
    """Yield what names a bucket in another region than the service's."""
    for path, value in urls_of(action):
        fault = elsewhere(value, region, regions)
        if fault is not None:
            yield LimitBroken(path, fault)


def urls_of(action: EditingAction) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Yield every text that may name an object, as far as it is known."""
    output = action.output_media_config
    match action.output_media_target:
        case OutputMediaTarget.OSS_OBJECT:
            yield (_OUTPUT, "MediaURL"), output.get("MediaURL")
        case OutputMediaTarget.VOD_MEDIA:
            yield (_OUTPUT, "StorageLocation"), f"http://{known_text(output.get('StorageLocation'))}"
        case OutputMediaTarget.S3:
            pass
        case _:
            assert_never(action.output_media_target)
    yield from _texts(action.timeline, ("timeline",))
    yield from _texts(action.clips_param, ("clips_param",))


def _texts(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    match value:
        case str() | Template():
            yield path, value
        case dict():
            for name, inner in value.items():
                yield from _texts(inner, (*path, name))
        case list():
            for place, inner in enumerate(value):
                yield from _texts(inner, (*path, place))
        case _:
            return
