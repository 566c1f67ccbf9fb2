"""RegisterMediaInfo and GetMediaInfo.

A URL that is registered already is refused with 409 MediaAlreadyExist, and an unknown one with 404
NoMatchedInputUrl: codes that users have met (developer.aliyun.com, questions 614862 and 612644).
Whether the former's message names the existing asset is not known; here it does not.
"""

from __future__ import annotations

import posixpath
import re
import uuid
from typing import TYPE_CHECKING

from dispatcher.core.extensions import AUDIO_EXTENSIONS, VIDEO_EXTENSIONS, extension_of
from dispatcher.simulator.actions.parameters import (
    Parameters,
    at_most_bytes,
    boolean,
    invalid,
    json_object,
    one_of,
    required,
    user_data,
    whole_number,
)
from dispatcher.simulator.media import identity_of
from dispatcher.simulator.signature import Refused
from dispatcher.simulator.times import format_time

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.simulator.account import Account
    from dispatcher.simulator.media import MediaAsset

MEDIA_TYPES = ("image", "video", "audio", "text")
BUSINESS_TYPES = ("subtitles", "font", "watermark", "opening", "ending", "general")
TEXT_TYPES = ("subtitles", "font")
OUTPUT_TYPES = ("oss", "cdn")
USER_DATA_BYTES = 1024
MOST_TAGS, TAG_BYTES = 16, 32
_CATEGORY_IDS = 2**63 - 1
_TOKEN = re.compile(r"[0-9a-fA-F]{32}")
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{6,64}")


def register_media(parameters: Parameters, account: Account, _now: datetime) -> dict[str, str]:
    """Return the id of an asset that may be registered, else raise Refused."""
    url = required(parameters, "InputURL")
    try:
        identity_of(url)
    except ValueError as error:
        raise invalid("InputURL", str(error)) from None
    _check_description(parameters)
    _check_kind(parameters)
    reference_id = parameters.get("ReferenceId", "")
    if reference_id and not _REFERENCE.fullmatch(reference_id):
        raise invalid("ReferenceId", "it may have 6 to 64 letters, digits, hyphens and underscores")
    overwrite = boolean(parameters, "Overwrite")
    existing = account.media.of_url(url)
    if existing is not None and not overwrite:
        raise Refused(409, "MediaAlreadyExist", "The media with the given inputUrl already exists.")
    namesake = account.media.of_reference(reference_id) if reference_id else None
    if namesake is not None and namesake is not existing:
        raise Refused(409, "ReferenceIdAlreadyExist", "The reference id is that of another media asset.")
    return {"MediaId": uuid.uuid4().hex}


def check_token(token: str) -> None:
    """Raise Refused unless the token is a UUID of 32 characters."""
    if not _TOKEN.fullmatch(token):
        raise invalid("ClientToken", "it must be a UUID of 32 characters")


def _check_description(parameters: Parameters) -> None:
    at_most_bytes(parameters, "Title", 128)
    at_most_bytes(parameters, "Description", 1024)
    at_most_bytes(parameters, "CoverURL", 128)
    user_data(parameters, USER_DATA_BYTES)
    tags = [tag for tag in parameters.get("MediaTags", "").split(",") if tag]
    if len(tags) > MOST_TAGS or any(len(tag.encode()) > TAG_BYTES for tag in tags):
        raise invalid("MediaTags", f"it may have {MOST_TAGS} tags of {TAG_BYTES} bytes")


def _check_kind(parameters: Parameters) -> None:
    media_type = one_of(parameters, "MediaType", MEDIA_TYPES)
    business_type = one_of(parameters, "BusinessType", BUSINESS_TYPES)
    if media_type == "text" and business_type not in TEXT_TYPES:
        raise invalid("BusinessType", "a text is one of " + ", ".join(TEXT_TYPES))
    whole_number(parameters, "CateId", 0, 0, _CATEGORY_IDS)
    json_object(parameters, "RegisterConfig")


def get_media(parameters: Parameters, account: Account, now: datetime) -> dict[str, object]:
    """Return the answer of GetMediaInfo by MediaId, or by InputURL where that is empty; else raise Refused.

    Until the registration is over (`registration_duration`) the asset has no files.
    """
    one_of(parameters, "OutputType", OUTPUT_TYPES)
    whole_number(parameters, "AuthTimeout", 0, 0, _CATEGORY_IDS)
    json_object(parameters, "ReturnDetailedInfo")
    media_id = parameters.get("MediaId")
    asset = account.media.get(media_id) if media_id else _of_url(parameters, account)
    if asset is None and media_id:
        raise Refused(404, "InvalidMedia.NotFound", f"The media asset {media_id} does not exist.")
    if asset is None:
        raise Refused(404, "NoMatchedInputUrl", "No media asset has the given inputUrl.")
    ready = now - asset.registered_at >= account.settings.registration_duration
    return {
        "MediaInfo": {
            "MediaId": asset.media_id,
            "MediaBasicInfo": _basic_fields(asset, ready=ready),
            "FileInfoList": [_file_fields(asset, account.settings.region)] if ready else [],
        }
    }


def _of_url(parameters: Parameters, account: Account) -> MediaAsset | None:
    try:
        return account.media.of_url(required(parameters, "InputURL"))
    except ValueError as error:
        raise invalid("InputURL", str(error)) from None


def _basic_fields(asset: MediaAsset, *, ready: bool) -> dict[str, object]:
    sent = asset.parameters
    return {
        "MediaId": asset.media_id,
        "InputURL": asset.input_url,
        "MediaType": sent.get("MediaType") or _type_of(asset.input_url),
        "BusinessType": sent.get("BusinessType", ""),
        "Source": "vod" if asset.input_url.startswith("vod://") else "oss",
        "Title": sent.get("Title") or f"{asset.registered_at:%Y%m%d%H%M%S}",
        "Description": sent.get("Description", ""),
        "MediaTags": sent.get("MediaTags", ""),
        "CoverURL": sent.get("CoverURL", ""),
        "CateId": int(sent.get("CateId") or 0),
        "ReferenceId": sent.get("ReferenceId", ""),
        "UserData": sent.get("UserData", ""),
        "Status": "Normal" if ready else "Preparing",
        "CreateTime": format_time(asset.registered_at),
        "ModifiedTime": format_time(asset.registered_at),
    }


def _type_of(url: str) -> str:
    extension = extension_of(url)
    if extension in AUDIO_EXTENSIONS:
        return "audio"
    return "video" if extension in VIDEO_EXTENSIONS else "image"


def _file_fields(asset: MediaAsset, region: str) -> dict[str, object]:
    return {
        "FileBasicInfo": {
            "FileName": posixpath.basename(asset.input_url),
            "FileStatus": "Normal",
            "FileType": "source_file",
            "FileUrl": asset.input_url,
            "Region": region,
        }
    }
