"""URLs that the service itself reads or writes: which ones it takes, and in which region they lie. Pure.

A text whose placeholders still wait for an object is a `Template`, and is judged as far as it is known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dispatcher.core.location import parse_oss_host
from dispatcher.core.printable import printable
from dispatcher.core.settings import OTHER_STORE_REGION
from dispatcher.core.templates import Template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.core.calls import Endpoint

_WAITS = "\0"
"""Stands in a text for a placeholder that waits for an object."""
_SCHEMES = ("oss://", "http://", "https://")
_URL = re.compile(r"(?P<scheme>oss|https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_FORM = "http://BUCKET.oss-REGION.aliyuncs.com/KEY"


def known_text(value: object) -> str:
    """Return what is known of a text: all of it, or what stands around its placeholders."""
    return _WAITS.join(value.literals) if isinstance(value, Template) else str(value)


def service_region(endpoint: Endpoint) -> str | None:
    """Return the region of the service behind an endpoint, None where nothing tells.

    For a bucket on another store the region of its endpoint may be one by custom of S3 software.
    """
    by_custom = endpoint.region == OTHER_STORE_REGION and endpoint.region not in endpoint.url
    return None if by_custom else endpoint.region


def authority_of_url(value: object) -> str | None:
    """Return the bucket or host that a URL names, None where it is not known or the text is no URL."""
    url = _URL.fullmatch(known_text(value))
    return None if url is None or _WAITS in url["authority"] else url["authority"]


def not_on_oss(value: object) -> str | None:
    """Return why the service would not take this URL of an object, None if it would or is not known yet.

    It takes `oss://BUCKET/KEY` (in its own region) and the http(s) URLs of OSS's regional hosts.
    """
    text = known_text(value)
    url = _URL.fullmatch(text)
    if url is None:
        head, waits, _ = text.partition(_WAITS)
        unknown = waits and any(scheme.startswith(head.lower()) for scheme in _SCHEMES)
        return None if unknown else f"this is no URL of an OSS object; write for example {_FORM}"
    web = url["scheme"].lower() != "oss"
    if web and any(mark in text for mark in "?#"):
        return f"a ? or # ends the path of an http URL; take it out, or write oss://BUCKET/KEY instead of {_FORM}"
    if _WAITS in url["authority"]:
        return None
    if url["rest"] in ("", "/") or url["rest"].endswith("/"):
        return f"this names no object; write for example {_FORM}"
    return _not_taken(url["authority"], web=web)


def _not_taken(authority: str, *, web: bool) -> str | None:
    host = parse_oss_host(_host(authority))
    if web and (host is None or host.bucket is None):
        return f"the service takes OSS's own hosts here, not other stores, custom domains or a CDN; write {_FORM}"
    if host is not None and host.region is None:
        return f"the service does not take OSS's acceleration endpoint here; write {_FORM}"
    return None


def not_registrable(value: object) -> str | None:
    """Return why an object of this URL cannot be made a media asset (InputURL of RegisterMediaInfo)."""
    return None if known_text(value).lower().startswith("vod://") else not_on_oss(value)


def elsewhere(value: object, region: str, regions: Mapping[str, str]) -> str | None:
    """Return in which other region than the service's a URL lies; None if in the same, or if nothing tells.

    `regions` is that of buckets, and of their custom hosts.
    """
    authority = authority_of_url(value)
    if authority is None:
        return None
    host = parse_oss_host(_host(authority))
    there = host.region if host is not None else regions.get(authority) or regions.get(_host(authority))
    if there is None or there == region:
        return None
    return (
        f"{printable(authority)} lies in {there}, and this rule calls the service in {region};"
        " what it reads and writes must lie in its own region"
    )


def _host(authority: str) -> str:
    return authority.lower().partition(":")[0]
