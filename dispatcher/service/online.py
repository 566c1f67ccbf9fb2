"""`check --online`: what only the real world can tell, found out without changing anything in it."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.events import decode_key
from dispatcher.core.listing import MalformedListingError, decode_raw_key, parse, respell
from dispatcher.errors import BucketMissingError, CredentialsError, DispatcherError, ExitCode
from dispatcher.ledger import browse
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.place import check_place, path_of
from dispatcher.service.assembly import keys_of
from dispatcher.service.findings import Finding, finding, gravest
from dispatcher.service.imm_probing import imm_findings
from dispatcher.service.probing import ServiceCheck
from dispatcher.sources.opening import open_bucket
from dispatcher.targets.alibaba import AlibabaClients
from dispatcher.targets.calling import Caller
from dispatcher.targets.imm import AlibabaBatches
from dispatcher.targets.permissions import PermissionProbe
from dispatcher.targets.ram import AlibabaRoles
from dispatcher.targets.tasks import AlibabaTasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from dispatcher.core.problems import Problem
    from dispatcher.core.settings import BucketSettings, Settings

NO_OBJECT = ".oss-dispatcher-check"
"""Read where a listing shows no object: that it is missing is as good an answer."""
_TRIES = 2


@dataclass(frozen=True, slots=True)
class OnlineCheck:
    """Everything that was found, and the exit code for it; warnings alone have none."""

    problems: tuple[Problem, ...]
    exit_code: ExitCode


def check_online(settings: Settings, now: datetime) -> OnlineCheck:
    """Try the buckets, the ledger and the service, and look for starts of the last day that are not ours."""
    found = [each for name in settings.rules.buckets() for each in _bucket(settings, settings.buckets[name])]
    found += _ledger(settings)
    found += _service(settings, now)
    found += _imm(settings)
    return OnlineCheck(tuple(each.problem for each in found), gravest(each.exit_code for each in found))


# -- buckets --------------------------------------------------------------------------------------


def _bucket(settings: Settings, bucket: BucketSettings) -> Iterator[Finding]:
    """Yield what keeps a bucket from being listed, and its objects from being looked at."""
    stop = threading.Event()
    actions = ("oss:ListObjects", "oss:GetObject") if bucket.on_oss else ("s3:ListBucket", "s3:GetObject")
    doing, rules = actions[0], tuple(rule.id for rule in settings.rules.rules if rule.input.bucket == bucket.name)
    try:
        with closing(open_bucket(bucket, keys_of(settings, bucket), attempts=_TRIES)) as store:
            for root in settings.rules.roots(bucket.name):
                doing = actions[0]
                answer = store.list(root, None, 1, stop)
                doing = actions[1]
                store.head(_first_key(answer.body) or root + NO_OBJECT, stop)
    except DispatcherError as error:
        yield _bucket_refused(bucket, doing, rules, error)
    except MalformedListingError as error:
        yield finding(
            "bucket_unreachable",
            f"bucket {bucket.name}: what answers at {bucket.endpoint} is no listing: {error}",
            hint="check that the endpoint is the store's S3 endpoint",
            rules=rules,
            exit_code=ExitCode.UNAVAILABLE,
        )


def _first_key(body: bytes) -> str | None:
    """Return the first key of a listing, None if it is empty. Raises MalformedListingError."""
    page = respell(body)
    first = next(parse(page.entries, 0, len(page.entries)), None)
    return decode_key(decode_raw_key(first.raw_key, url_encoded=page.url_encoded)) if first is not None else None


def _bucket_refused(bucket: BucketSettings, action: str, rules: tuple[str, ...], error: DispatcherError) -> Finding:
    match error:
        case CredentialsError():
            code, hint = "permission", f"{error.hint}; what is missing here is {action}"
        case BucketMissingError():
            code, hint = "bucket_missing", error.hint
        case _:
            code, hint = "bucket_unreachable", error.hint
    return finding(code, f"bucket {bucket.name}: {error.message}", hint=hint, rules=rules, exit_code=error.exit_code)


# -- the ledger -----------------------------------------------------------------------------------


def _ledger(settings: Settings) -> Iterator[Finding]:
    """Yield why the ledger could not be used; it is not made or upgraded by looking."""
    try:
        path = path_of(settings.ledger.url)
        if path.exists():
            Ledger.open(settings.ledger.url, upgrade=False).close()
        else:
            check_place(path, readonly=False)
    except DispatcherError as error:
        yield finding("ledger", error.message, hint=error.hint, exit_code=error.exit_code)


def _service(settings: Settings, now: datetime) -> list[Finding]:
    with closing(AlibabaClients(settings.credentials, call_timeout=settings.call_timeout)) as clients:
        probe = PermissionProbe(Caller(clients, settings.not_started_codes))
        with _known_ids(settings, now) as known:
            return list(ServiceCheck(settings, probe.ask, AlibabaTasks(clients), known, now).findings())


def _imm(settings: Settings) -> list[Finding]:
    if settings.imm is None:
        return []
    with closing(AlibabaClients(settings.credentials, call_timeout=settings.call_timeout)) as clients:
        return list(imm_findings(settings, AlibabaBatches(clients), AlibabaRoles(clients)))


@contextmanager
def _known_ids(settings: Settings, now: datetime) -> Iterator[Callable[[str], bool]]:
    """Yield what tells whether this ledger ever had a dispatch id; without a ledger, none is known."""
    try:
        opened = Ledger.open(settings.ledger.url, readonly=True)
    except DispatcherError:
        yield lambda _dispatch_id: False
        return
    with closing(opened) as ledger, ledger.read() as tx:
        yield lambda dispatch_id: browse.show(tx, dispatch_id, now) is not None
