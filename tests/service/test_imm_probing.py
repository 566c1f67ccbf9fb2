"""`check --online` of IMM: project, role and bindings, each by what the operator has to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from dispatcher.config import load
from dispatcher.core.batches import Batch, BatchQuery, Project
from dispatcher.errors import CredentialsError, DispatcherError, ExitCode, ServiceUnavailableError
from dispatcher.service.imm_probing import SERVICE, imm_findings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.core.calls import Endpoint

CONFIG = """\
rules:
  - {name: a, input: "http://media.oss-cn-hangzhou.aliyuncs.com/in/", workflow: w}
  - {name: b, input: "http://other.oss-cn-hangzhou.aliyuncs.com/in/", workflow: w}
imm: {project: p1, service_role: own-role}
"""
DENIED = CredentialsError("GetProject is refused: NoPermission", hint="x")
AWAY = ServiceUnavailableError("cannot be reached", hint="x")


@dataclass
class Service:
    """IMM and RAM as they would answer; an error is raised instead."""

    projects: set[str] = field(default_factory=lambda: {"p1"})
    bound: dict[str, str] = field(default_factory=lambda: {"media": "p1", "other": "p1"})
    trusted: frozenset[str] | DispatcherError | None = frozenset({SERVICE})
    error: DispatcherError | None = None
    asked_role: str | None = None

    def get_project(self, _endpoint: Endpoint, project: str) -> Project | None:
        if self.error is not None:
            raise self.error
        return Project(project, "r") if project in self.projects else None

    def bound_project(self, _endpoint: Endpoint, bucket: str) -> str | None:
        return self.bound.get(bucket)

    def list_batches(self, _query: BatchQuery) -> Iterator[Batch]:
        yield Batch("b", "Running")

    def trusted_services(self, role: str) -> frozenset[str] | None:
        self.asked_role = role
        if isinstance(self.trusted, DispatcherError):
            raise self.trusted
        return self.trusted


def found(folder: Path, service: Service, config: str = CONFIG) -> list[tuple[str, ExitCode, str]]:
    path = folder / "config.yaml"
    path.write_text(config, "utf-8")
    findings = imm_findings(load(path, {}), service, service)
    return [(each.problem.code, each.exit_code, each.problem.message) for each in findings]


def test_nothing_is_found_where_all_is_well_or_nothing_is_configured(tmp_path: Path) -> None:
    service = Service()
    assert found(tmp_path, service) == []
    assert service.asked_role == "own-role"
    assert found(tmp_path, Service(error=DENIED), CONFIG.partition("imm:")[0]) == []


@pytest.mark.parametrize(
    ("service", "code", "exit_code", "said"),
    [
        (Service(projects=set()), "imm_project", ExitCode.CONFIG, "no IMM project p1"),
        (Service(error=DENIED), "permission", ExitCode.CREDENTIALS, "NoPermission"),
        (Service(error=AWAY), "service_unreachable", ExitCode.UNAVAILABLE, "imm.cn-hangzhou.aliyuncs.com"),
        (Service(trusted=None), "imm_role", ExitCode.CONFIG, "own-role does not exist"),
        (Service(trusted=frozenset({"ecs.aliyuncs.com"})), "imm_role", ExitCode.CONFIG, "does not trust"),
        (Service(trusted=DENIED), "imm_role_not_proven", ExitCode.DONE, "own-role"),
        (Service(bound={"media": "p1"}), "imm_bucket", ExitCode.DONE, "other is bound to none"),
        (Service(bound={"media": "p1", "other": "p2"}), "imm_bucket", ExitCode.DONE, "to project p2"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, service: Service, code: str, exit_code: ExitCode, said: str) -> None:
    [(there, exits, message)] = found(tmp_path, service)
    assert (there, exits) == (code, exit_code)
    assert said in message


def test_without_any_bound_bucket_the_configuration_cannot_work(tmp_path: Path) -> None:
    assert [each[:2] for each in found(tmp_path, Service(bound={}))] == [("imm_bucket", ExitCode.CONFIG)] * 2


def test_an_endpoint_that_is_not_alibabas_has_no_roles_to_ask_for(tmp_path: Path) -> None:
    service = Service(trusted=None)
    local = CONFIG.replace("{project: p1", "{endpoint: 'http://127.0.0.1:9', project: p1")
    assert found(tmp_path, service, local) == []
    assert service.asked_role is None
