"""Locations: every way to write "this bucket, this prefix", read into one value. Pure.

Only (bucket, key prefix) is ever compared. Scheme, internal, accelerated, dual-stack and custom
hosts are different doors to the same bucket, so they end here and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, unquote

from dispatcher.errors import LocationError

if TYPE_CHECKING:
    from collections.abc import Mapping

OSS_ROOT = "aliyuncs.com"

_REGION = r"(?P<region>[a-z0-9]+(?:-[a-z0-9]+)*?)"
_OSS_HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9_][a-z0-9._-]*?)\.)??"
    r"(?:(?:s3\.)?oss-accelerate(?P<overseas>-overseas)?"
    rf"|(?:s3\.)?oss-{_REGION}(?P<internal>-internal)?"
    r"|(?P<dual>(?:cn|us|ap|eu|me|na|sa|af|rg)(?:-[a-z0-9]+)+)\.oss"
    r")\.aliyuncs\.com"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.ASCII)
_ALMOST_SCHEME = re.compile(r"(?:https?|oss|s3):/?(?!/)", re.ASCII | re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_SIGNED = re.compile(r"signature|token|credential|accesskeyid|x-amz-|x-oss-", re.IGNORECASE)
_QUERY = re.compile(r"[?#]")
_DEFAULT_PORTS = ("", "80", "443")


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A bucket and a key prefix; the empty prefix is the whole bucket."""

    bucket: str
    prefix: str

    def covers(self, bucket: str, key: str) -> bool:
        """Tell whether the object lies here: a raw string prefix, `A` covers `AB/x.mp4`."""
        return bucket == self.bucket and key.startswith(self.prefix)

    def __str__(self) -> str:
        return object_url(self.bucket, self.prefix)


@dataclass(frozen=True, slots=True)
class Names:
    """What a text may refer to beside Alibaba's own hosts.

    `buckets`: configured buckets. `hosts`: custom host (lower-case, with its port if it is not
    80 or 443) -> bucket. `endpoints`: configured endpoints of other stores, in the same form: the
    bucket is the first path segment, or the label before the host. `only_bucket` is meant by a
    bare prefix.
    """

    buckets: frozenset[str] = frozenset()
    hosts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    endpoints: frozenset[str] = frozenset()
    only_bucket: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedLocation:
    """What a written location says: where, and what its host told of the region and the endpoint.

    `region` is None where the text does not tell. `endpoint` is the full URL of the S3 endpoint
    that the host stands for, None for anything but a regional OSS host.
    """

    location: Location
    region: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class OssHost:
    """An Alibaba OSS host name, taken apart. `region` is None for the accelerated hosts."""

    bucket: str | None
    region: str | None
    internal: bool

    @property
    def endpoint(self) -> str | None:
        """The S3-compatible endpoint of the same region and network."""
        return None if self.region is None else oss_endpoint(self.region, internal=self.internal)


def oss_endpoint(region: str, *, internal: bool = False, native: bool = False) -> str:
    """Return the URL of an OSS region's endpoint: the S3-compatible one, or that of OSS's own API."""
    return f"https://{'' if native else 's3.'}oss-{region}{'-internal' if internal else ''}.{OSS_ROOT}"


def parse_oss_host(host: str) -> OssHost | None:
    """Return what an OSS host name says, None for any other host. Case does not matter."""
    match = _OSS_HOST.fullmatch(host.lower())
    if match is None:
        return None
    return OssHost(match["bucket"], match["region"] or match["dual"], internal=match["internal"] is not None)


def authority_of(text: str) -> str:
    """Return the lower-case host, with its port unless it is 80 or 443, of `host[:port]`.

    Raises ValueError for a port that is no number. A dot at the end of the host is dropped.
    """
    host, port = _split_port(text)
    return host if port in _DEFAULT_PORTS else f"{host}:{port}"


def is_bare(text: str) -> bool:
    """Tell whether the text is a plain key prefix rather than a URL."""
    return _SCHEME.match(text) is None


def object_url(bucket: str, key: str) -> str:
    """Return the text that names this object to `parse_object`: nothing is encoded in it."""
    scheme = "s3" if key.startswith("/") else "oss"
    return f"{scheme}://{bucket}/{key}"


def parse_location(text: str, names: Names) -> ParsedLocation:
    """Read a rule's input or a `never_trigger` entry: any URL form, or a bare prefix.

    Only http(s) URLs are percent-decoded. Raises LocationError, which says what to write instead
    and repeats neither passwords nor signatures.
    """
    if not text:
        raise LocationError(
            "an empty text names no location",
            hint="Write a key prefix such as incoming/, or oss://BUCKET/ for a whole bucket.",
        )
    found = _resolve(text, names)
    if found.key.startswith("/"):
        _refuse_leading_slash(text, found)
    return ParsedLocation(Location(found.bucket, found.key), found.region, found.endpoint)


def parse_object(text: str, names: Names) -> tuple[str, str]:
    """Read the name of one object: any URL form, or a bare key where there is one bucket.

    A key that begins with a slash is possible on other stores than OSS, and is taken only in
    their URL forms (`s3://bucket//key`, or path style). Raises LocationError.
    """
    found = _resolve(text, names)
    if not found.key:
        raise LocationError(
            f"{_shown(text)} names a bucket, not an object",
            hint=f"Write the object's key behind it: {object_url(found.bucket, 'folder/file.mp4')}",
        )
    if found.key.startswith("/") and not found.slash_possible:
        _refuse_leading_slash(text, found)
    return found.bucket, found.key


# -- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """What a text resolves to. `head` is the part of the text in front of the key."""

    bucket: str
    key: str
    head: str = ""
    encoded: bool = False
    region: str | None = None
    endpoint: str | None = None
    slash_possible: bool = False


def _resolve(text: str, names: Names) -> _Found:
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _bare(text, names)
    rest = text[scheme.end() :]
    match scheme[1].lower():
        case "http" | "https":
            return _web_url(text, scheme[0], rest, names)
        case "oss" | "s3" as store:
            return _store_url(text, scheme[0], rest, names, slash_possible=store == "s3")
        case unknown:
            raise LocationError(
                f"{unknown}:// is not a way to write a location",
                hint="Write oss://BUCKET/PREFIX, s3://BUCKET/PREFIX, an http(s) URL of the bucket, or a bare prefix.",
            )


def _bare(text: str, names: Names) -> _Found:
    if _ALMOST_SCHEME.match(text):
        raise LocationError(
            f"{_shown(text)} looks like a URL with a slash missing",
            hint="Two slashes follow the colon: oss://BUCKET/PREFIX or http://HOST/PREFIX.",
        )
    head = text.partition("/")[0]
    if _known_host(head, names):
        raise LocationError(
            f"{_shown(text)} begins with a host name but has no scheme",
            hint=f"Write http://{_shown(text)}",
        )
    if names.only_bucket is None:
        known = ", ".join(sorted(names.buckets)[:5])
        raise LocationError(
            f"{_shown(text)} does not say which bucket" + (f" (there are {known})" if known else ""),
            hint=f"Write oss://BUCKET/{_shown(text).lstrip('/')}, or list exactly one bucket under `buckets:`.",
        )
    return _Found(names.only_bucket, text)


def _web_url(text: str, scheme: str, rest: str, names: Names) -> _Found:
    authority, slash, path = _split_authority(rest)
    if "?" in rest or "#" in rest:
        raise LocationError(
            f"{_shown(text)} goes on with a ? or #, which ends the path of an http URL",
            hint="Write %3F for a ? and %23 for a # that belong to the key; leave out a query or signature.",
        )
    found = _by_host(text, authority, path, names)
    if found is None:
        if "@" in path:
            _refuse_user()
        raise LocationError(
            f"{_shown(scheme + authority)} is not a host of a known bucket",
            hint=f"If it is a custom domain of a bucket, list it: buckets: [{{name: BUCKET, hosts: [{authority}]}}];"
            " if it is a store's endpoint, write it as that bucket's endpoint.",
        )
    key = unquote(found.key, errors="surrogateescape")
    head = f"{scheme}{authority}{slash}{found.head}"
    return _with_key(found, key, head, encoded=True)


def _store_url(text: str, scheme: str, rest: str, names: Names, *, slash_possible: bool) -> _Found:
    authority, _, path = _split_authority(rest)
    if authority in names.buckets:
        return _Found(authority, path, f"{scheme}{authority}/", slash_possible=slash_possible)
    found = _by_host(text, authority, path, names)
    if found is not None:
        return _with_key(found, found.key, f"{scheme}{authority}/{found.head}", encoded=False)
    if not _BUCKET.fullmatch(authority):
        raise LocationError(
            f"{_shown(text)}: what stands between {scheme} and the next slash is no bucket name",
            hint="Write oss://BUCKET/PREFIX; a bucket name has letters, digits, hyphens and dots.",
        )
    # The bucket is the host of the URL, so its case means nothing unless the config says otherwise.
    return _Found(authority.lower(), path, f"{scheme}{authority}/", slash_possible=slash_possible)


def _by_host(text: str, authority: str, path: str, names: Names) -> _Found | None:
    """Resolve by the host; `head` of the result holds what the path says in front of the key."""
    try:
        host, port = _split_port(authority)
    except ValueError:
        if "@" in path:
            _refuse_user()
        raise LocationError(
            f"the port in {_shown(text)} is no number", hint="Write http://HOST:PORT/PATH, or no port at all."
        ) from None
    address = host if port in _DEFAULT_PORTS else f"{host}:{port}"
    bucket = names.hosts.get(address) or names.hosts.get(host)
    if bucket is not None:
        return _Found(bucket, path)
    oss = parse_oss_host(host)
    if oss is not None and oss.bucket is not None:
        return _Found(oss.bucket, path, region=oss.region, endpoint=oss.endpoint)
    if oss is not None or address in names.endpoints:
        return _path_style(text, path, oss)
    bucket = _label_of_endpoint(address, names)
    return None if bucket is None else _Found(bucket, path, slash_possible=True)


def _label_of_endpoint(address: str, names: Names) -> str | None:
    """Return the bucket of `BUCKET.ENDPOINT`, None where the address ends in no known endpoint."""
    at = address.find(".")
    while at >= 0:
        if address[at + 1 :] in names.endpoints:
            return address[:at]
        at = address.find(".", at + 1)
    return None


def _path_style(text: str, path: str, oss: OssHost | None) -> _Found:
    bucket, slash, key = path.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise LocationError(
            f"{_shown(text)} names an endpoint but no bucket",
            hint="Write the bucket as the first part of the path: http://ENDPOINT/BUCKET/PREFIX.",
        )
    return _Found(
        bucket,
        key,
        bucket + slash,
        region=oss.region if oss else None,
        endpoint=oss.endpoint if oss else None,
        slash_possible=oss is None,
    )


def _with_key(found: _Found, key: str, head: str, *, encoded: bool) -> _Found:
    return _Found(found.bucket, key, head, encoded, found.region, found.endpoint, found.slash_possible)


def _known_host(text: str, names: Names) -> bool:
    try:
        address = authority_of(text)
    except ValueError:
        return False
    return parse_oss_host(address) is not None or address in names.hosts or address in names.endpoints


def _split_authority(rest: str) -> tuple[str, str, str]:
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        _refuse_user()
    return authority, slash, path


def _split_port(authority: str) -> tuple[str, str]:
    host, colon, port = authority.lower().rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority.lower(), ""
    if port and not (port.isascii() and port.isdigit()):
        raise ValueError(port)
    return host.removesuffix("."), port.lstrip("0")


# -- saying what is wrong -----------------------------------------------------------------------


def _refuse_user() -> NoReturn:
    # Nothing of the text is repeated: a password may hold any character, also a slash.
    raise LocationError(
        "a URL with a user name or password before an @ is not taken (it is not repeated here)",
        hint="Take out everything between :// and the @; keys belong under `credentials:`.",
    )


def _refuse_leading_slash(text: str, found: _Found) -> NoReturn:
    key = found.key.lstrip("/")
    mended = found.head + (quote(key, safe="/~!$&'()*+,;=:@", errors="surrogateescape") if found.encoded else key)
    raise LocationError(
        f"the path in {_shown(text)} begins with a slash, and no key of an OSS bucket does",
        hint=f"Write {_shown(mended)}" if mended else "Write oss://BUCKET/ for the whole bucket.",
    )


def _shown(text: str) -> str:
    """Return the text as an error may repeat it: without a query that may be a signature."""
    path, query = _QUERY.split(text, maxsplit=1) if _QUERY.search(text) else (text, "")
    if path != text and (text[:4].lower() == "http" or _SIGNED.search(query)):
        text = f"{path}{text[len(path)]}…"
    # One line, whatever control characters or broken bytes the text holds.
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)
