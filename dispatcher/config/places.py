"""Buckets, regions and endpoints: what the file says, and what follows from the rules' URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.core.calls import Endpoint
from dispatcher.core.location import (
    Location,
    Names,
    ParsedLocation,
    authority_of,
    is_bare,
    oss_endpoint,
    parse_location,
    parse_oss_host,
)
from dispatcher.core.settings import OTHER_STORE_REGION, Addressing, BucketSettings, StoreApi
from dispatcher.errors import LocationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.config.document import Node
    from dispatcher.config.models import BucketModel
    from dispatcher.config.problems import Faults, Path
    from dispatcher.core.settings import Credentials

_IMS_HOST = re.compile(r"ice[.-](?:vpc[.-])?(?P<region>[a-z]{2}-[a-z0-9-]+)\.aliyuncs\.com")


@dataclass(frozen=True, slots=True)
class Places:
    """Every location of the file, read. `inputs` by the rule's place; wrong ones are missing."""

    names: Names
    inputs: Mapping[int, ParsedLocation]
    never_trigger: tuple[Location, ...]


@dataclass(slots=True)
class PlaceReader:
    """Reads the locations of the file. `written` are the valid entries under `buckets:`."""

    root: Node
    written: Mapping[int, BucketModel]
    faults: Faults
    _names: Names = field(default_factory=Names)

    def places(self) -> Places:
        """Return all locations: URLs first, since they tell which bucket a bare prefix means."""
        self._names = self._written_names()
        inputs: dict[int, ParsedLocation] = {}
        bare: list[int] = []
        for place, text in self._texts("rules", "input"):
            if is_bare(text):
                bare.append(place)
            else:
                self._read(text, ("rules", place, "input"), inputs, place)
        buckets = set(self._names.buckets) | {parsed.location.bucket for parsed in inputs.values()}
        only = next(iter(buckets)) if len(buckets) == 1 else None
        self._names = Names(frozenset(buckets), self._names.hosts, self._names.endpoints, only)
        for place, text in self._texts("rules", "input"):
            if place in bare:
                self._read(text, ("rules", place, "input"), inputs, place)
        return Places(self._names, inputs, self._never_trigger(buckets))

    def _written_names(self) -> Names:
        hosts: dict[str, str] = {}
        endpoints: set[str] = set()
        seen: dict[str, int] = {}
        for place, bucket in self.written.items():
            path: Path = ("buckets", place)
            if bucket.name in seen:
                self._fault((*path, "name"), f"bucket {bucket.name} is listed twice; keep one of the entries")
            seen[bucket.name] = place
            for at, host in enumerate(bucket.hosts):
                if hosts.setdefault(host, bucket.name) != bucket.name:
                    self._fault(
                        (*path, "hosts", at), f"{host} already names bucket {hosts[host]}; a host names one bucket"
                    )
            if bucket.endpoint is not None:
                address = authority_of(bucket.endpoint.partition("://")[2])
                if parse_oss_host(address) is None:
                    endpoints.add(address)
        return Names(frozenset(seen), hosts, frozenset(endpoints))

    def _texts(self, key: str, below: str) -> list[tuple[int, str]]:
        items = self.root.below(key)
        if items is None or not isinstance(items.value, list):
            return []
        texts = ((place, item.below(below)) for place, item in enumerate(items.value))
        return [
            (place, node.value)
            for place, node in texts
            if node is not None and isinstance(node.value, str) and not node.broken
        ]

    def _read(self, text: str, path: Path, into: dict[int, ParsedLocation], place: int) -> None:
        try:
            into[place] = parse_location(text, self._names)
        except LocationError as error:
            self._fault(path, f"{error.message}. {error.hint}")

    def _never_trigger(self, buckets: set[str]) -> tuple[Location, ...]:
        node = self.root.below("never_trigger")
        if node is None or not isinstance(node.value, list):
            return ()
        found: list[Location] = []
        for place, item in enumerate(node.value):
            text = item.value
            if not isinstance(text, str) or item.broken:
                continue
            # A bare prefix holds in every bucket, so it is read once for each.
            for bucket in sorted(buckets) if is_bare(text) and buckets else [None]:
                names = self._names
                if bucket is not None:
                    names = Names(names.buckets, names.hosts, names.endpoints, bucket)
                try:
                    found.append(parse_location(text, names).location)
                except LocationError as error:
                    self._fault(("never_trigger", place), f"{error.message}. {error.hint}")
                    break
        return tuple(dict.fromkeys(found))

    def _fault(self, path: Path, message: str) -> None:
        self.faults.add(self.root.at(path).origin, path, message)


@dataclass(frozen=True, slots=True)
class Hints:
    """What the rules' URLs tell of one bucket, and the path of the rule that named it first."""

    path: Path
    regions: tuple[str, ...]
    endpoints: frozenset[str]


def hints_of(inputs: Mapping[int, ParsedLocation]) -> dict[str, Hints]:
    """Return what the rules' URLs tell, by bucket."""
    hints: dict[str, Hints] = {}
    for place in sorted(inputs):
        parsed = inputs[place]
        before = hints.get(parsed.location.bucket, Hints(("rules", place, "input"), (), frozenset()))
        hints[parsed.location.bucket] = Hints(
            before.path,
            tuple(dict.fromkeys((*before.regions, *((parsed.region,) if parsed.region else ())))),
            before.endpoints | ({parsed.endpoint} if parsed.endpoint else set()),
        )
    return hints


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """Everything known of one bucket before it is settled. `path` is where a fault points."""

    name: str
    path: Path
    model: BucketModel | None
    hints: Hints | None
    credentials: Credentials | None


def settle_bucket(facts: BucketFacts, ims_endpoint: str | None) -> BucketSettings | str:
    """Return the bucket's settings, or what is missing: a text for the operator."""
    model, hints = facts.model, facts.hints
    written = model.endpoint if model is not None else None
    on_oss = written is None or parse_oss_host(_host(written)) is not None
    regions = _regions(facts, on_oss=on_oss)
    if len(regions) > 1:
        return f"bucket {facts.name} is said to be in {' and in '.join(regions)}; a bucket lies in one region"
    if not regions and on_oss:
        return (
            f"the region of bucket {facts.name} is not known; use the bucket's regional URL,"
            f" or write buckets: [{{name: {facts.name}, region: cn-hangzhou}}]"
        )
    if not regions and ims_endpoint is None:
        return (
            f"bucket {facts.name} lies on another store, so nothing tells in which region IMS is to be called;"
            " write the bucket's region, or ims: {endpoint: ice.cn-hangzhou.aliyuncs.com}"
        )
    addressing = model.addressing if model is not None else None
    if on_oss and addressing == "path":
        return f"bucket {facts.name} lies on OSS, which refuses addressing: path; take it out"
    api = StoreApi(model.api) if model is not None else StoreApi.S3
    if api is StoreApi.OSS and (fault := _fault_of_native(facts.name, written, regions)):
        return fault
    region = regions[0] if regions else OTHER_STORE_REGION
    ims_region = _ims_region(ims_endpoint) or region
    return BucketSettings(
        name=facts.name,
        region=region,
        endpoint=written or _default_endpoint(region, hints, api),
        addressing=Addressing(addressing or ("virtual" if on_oss else "path")),
        on_oss=on_oss,
        ims=Endpoint(ims_region, ims_endpoint or f"https://ice.{ims_region}.aliyuncs.com"),
        hosts=tuple(model.hosts) if model is not None else (),
        credentials=facts.credentials,
        api=api,
    )


def _fault_of_native(name: str, endpoint: str | None, regions: tuple[str, ...]) -> str | None:
    """Return what keeps a bucket from being reached by OSS's own API, None if nothing does."""
    if not regions:
        return f"bucket {name} has api: oss, whose signature names the region; write the bucket's region"
    if endpoint is not None and _host(endpoint).lower().startswith("s3.oss-"):
        return (
            f"bucket {name} has api: oss, and its endpoint speaks S3; write it without the s3. in front,"
            " or take api: oss out"
        )
    return None


def _regions(facts: BucketFacts, *, on_oss: bool) -> tuple[str, ...]:
    """Return the regions that are said of the bucket; more than one is a contradiction.

    For a bucket on another store a written region is taken alone: the rules may still carry the
    OSS URLs they were copied with.
    """
    written = facts.model.region if facts.model is not None else None
    if written is not None and not on_oss:
        return (written,)
    endpoint = facts.model.endpoint if facts.model is not None else None
    host = parse_oss_host(_host(endpoint)) if endpoint is not None else None
    hinted = facts.hints.regions if facts.hints is not None else ()
    said = (written, host.region if host is not None else None, *hinted)
    return tuple(dict.fromkeys(region for region in said if region is not None))


def _default_endpoint(region: str, hints: Hints | None, api: StoreApi) -> str:
    """Return the public endpoint, or the internal one where every URL of the bucket is internal."""
    internal = hints is not None and hints.endpoints == {oss_endpoint(region, internal=True)}
    return oss_endpoint(region, internal=internal, native=api is StoreApi.OSS)


def _ims_region(endpoint: str | None) -> str | None:
    match = _IMS_HOST.fullmatch(_host(endpoint)) if endpoint is not None else None
    return match["region"] if match is not None else None


def _host(endpoint: str) -> str:
    host = endpoint.partition("://")[2]
    return host if host.endswith("]") else host.rpartition(":")[0] or host
