"""What SubmitMediaProducingJob may write, and how many tracks it may have: the documented limits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dispatcher.simulator.actions.parameters import Parameters, invalid, json_object, one_of, required
from dispatcher.simulator.tasks import split_object_url

if TYPE_CHECKING:
    from collections.abc import Mapping

TARGETS = ("oss-object", "vod-media", "S3")
LEAST_SIDE, MOST_SIDE, MOST_SHORTER_SIDE = 128, 4096, 2160
MOST_BITRATE = 5000
MOST_TRACKS = 100
_DIGITS = 9  # more are out of every range
_OSS_HOST = re.compile(r"[^.]+\.oss-(?P<region>[a-z0-9-]+?)(-internal)?\.aliyuncs\.com")


def check_output(parameters: Parameters, region: str) -> str:
    """Return the target of the output: oss-object (the default), vod-media or S3. Else raise Refused."""
    target = one_of(parameters, "OutputMediaTarget", TARGETS) or "oss-object"
    required(parameters, "OutputMediaConfig")
    config = json_object(parameters, "OutputMediaConfig")
    match target:
        case "vod-media":
            for name in ("StorageLocation", "FileName"):
                _text(config, name)
        case "S3":
            pass  # what this target needs is not documented
        case _:
            _check_object_url(_text(config, "MediaURL"), region)
    _check_size(config)
    return target


def _text(config: Mapping[str, object], name: str) -> str:
    value = config.get(name)
    if not isinstance(value, str) or not value:
        raise invalid("OutputMediaConfig", f"{name} is needed for this OutputMediaTarget")
    return value


def _check_object_url(url: str, region: str) -> None:
    try:
        _, key = split_object_url(url)
        host = _OSS_HOST.fullmatch(urlsplit(url).hostname or "")
    except ValueError:
        key, host = "", None
    if not key:
        raise invalid("OutputMediaConfig", "MediaURL must be an object's URL")
    if host is not None and host["region"] != region:
        raise invalid("OutputMediaConfig", f"the bucket of MediaURL must be in the service's region {region}")


def _check_size(config: Mapping[str, object]) -> None:
    sides = [_number(config, name, LEAST_SIDE, MOST_SIDE) for name in ("Width", "Height") if name in config]
    if len(sides) == 2 and min(sides) > MOST_SHORTER_SIDE:  # noqa: PLR2004 - width and height
        raise invalid("OutputMediaConfig", f"the shorter side may have {MOST_SHORTER_SIDE} pixels")
    if "Bitrate" in config:
        _number(config, "Bitrate", 1, MOST_BITRATE)


def _number(config: Mapping[str, object], name: str, least: int, most: int) -> int:
    """Return a number, also of its digits as text: the service's JSON is read leniently."""
    value = config[name]
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise invalid("OutputMediaConfig", f"{name} must be a number from {least} to {most}")
    return value


def check_tracks(timeline: Mapping[str, object]) -> None:
    """Raise Refused if a Timeline has more than 100 tracks of a kind, or tracks that are no list."""
    for name, tracks in timeline.items():
        if name.endswith("Tracks") and (not isinstance(tracks, list) or len(tracks) > MOST_TRACKS):
            raise invalid("Timeline", f"{name} must be a list of at most {MOST_TRACKS}")
