"""`check --online`, IMM: the project, the role that batches are created with, and the buckets bound to the project.

Nothing is created to find out: CreateBatch itself is the one permission that this cannot prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from dispatcher.core.batches import BatchQuery
from dispatcher.errors import CredentialsError, DispatcherError, ExitCode
from dispatcher.service.batching import imm_endpoint
from dispatcher.service.findings import Finding, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.core.batches import Batch, ImmSettings, Project
    from dispatcher.core.calls import Endpoint
    from dispatcher.core.settings import Settings

SERVICE = "imm.aliyuncs.com"
"""The principal that a role for IMM trusts."""
_ALIBABA = ".aliyuncs.com"


class Imm(Protocol):
    """What reads IMM: `targets.imm.AlibabaBatches`."""

    def get_project(self, endpoint: Endpoint, project: str) -> Project | None:
        """Return a project."""
        ...

    def bound_project(self, endpoint: Endpoint, bucket: str) -> str | None:
        """Return the project that a bucket is bound to."""
        ...

    def list_batches(self, query: BatchQuery) -> Iterator[Batch]:
        """Yield every batch of the query."""
        ...


class Roles(Protocol):
    """What reads roles: `targets.ram.AlibabaRoles`."""

    def trusted_services(self, role: str) -> frozenset[str] | None:
        """Return the services that may take a role, None if there is no such role."""
        ...


def imm_findings(settings: Settings, imm: Imm, roles: Roles) -> Iterator[Finding]:
    """Yield what keeps batches of `imm:` from working; nothing where it is not configured."""
    asked = settings.imm
    if asked is None:
        return
    buckets: dict[str, tuple[Endpoint, list[str]]] = {}
    for name in settings.rules.buckets():
        if settings.buckets[name].on_oss:
            endpoint = imm_endpoint(settings, settings.buckets[name].region)
            buckets.setdefault(endpoint.url, (endpoint, []))[1].append(name)
    for endpoint, names in buckets.values():
        try:
            yield from _project(asked, imm, endpoint, names)
        except DispatcherError as error:
            yield _refused(endpoint, error)
    # Another endpoint than Alibaba's (a simulator, a proxy) has no RAM behind it.
    if any((urlsplit(url).hostname or "").endswith(_ALIBABA) for url in buckets):
        yield from _role(asked, roles)


def _project(asked: ImmSettings, imm: Imm, endpoint: Endpoint, buckets: list[str]) -> Iterator[Finding]:
    if imm.get_project(endpoint, asked.project) is None:
        yield finding(
            "imm_project",
            f"there is no IMM project {asked.project} at {endpoint.url}",
            hint="make it in IMM's console, or mend imm.project or imm.endpoint",
            exit_code=ExitCode.CONFIG,
        )
        return
    next(imm.list_batches(BatchQuery(endpoint, asked.project, page_size=1)), None)
    bound = {bucket: imm.bound_project(endpoint, bucket) for bucket in buckets}
    for bucket, project in bound.items():
        if project != asked.project:
            told = f"to project {project}" if project is not None else "to none"
            yield finding(
                "imm_bucket",
                f"bucket {bucket} is bound {told}, and not to the IMM project {asked.project}: no batch can read it",
                hint="bind it in IMM's console (AttachOSSBucket) if `batches create` is meant for it",
                # One bucket of several may be meant for batches; none at all is a configuration that cannot work.
                exit_code=ExitCode.DONE if asked.project in bound.values() else ExitCode.CONFIG,
            )


def _role(asked: ImmSettings, roles: Roles) -> Iterator[Finding]:
    try:
        trusted = roles.trusted_services(asked.service_role)
    except DispatcherError as error:
        yield finding(
            "imm_role_not_proven",
            f"whether the role {asked.service_role} lets IMM in could not be found out: {error.message}",
            hint="grant ram:GetRole to the identity in use, or look into the RAM console",
        )
        return
    if trusted is None or SERVICE not in trusted:
        what = "does not exist" if trusted is None else f"does not trust {SERVICE}"
        yield finding(
            "imm_role",
            f"the role {asked.service_role} {what}, so that no batch can be created with it",
            hint="authorise IMM in its console, which makes AliyunIMMBatchTriggerRole, or mend imm.service_role",
            exit_code=ExitCode.CONFIG,
        )


def _refused(endpoint: Endpoint, error: DispatcherError) -> Finding:
    if isinstance(error, CredentialsError):
        return finding(
            "permission",
            f"IMM refuses at {endpoint.url}: {error.message}",
            hint=f"{error.hint}; `oss-dispatcher config policy` prints the whole policy",
            exit_code=ExitCode.CREDENTIALS,
        )
    return finding(
        "service_unreachable",
        f"{endpoint.url} does not serve IMM: {error.message}",
        hint="check imm.endpoint, the network, and any proxy between",
        exit_code=error.exit_code,
    )
