"""Roles through the common SDK: what travels, and what a trust policy tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dispatcher.errors import CredentialsError, ServiceUnavailableError
from dispatcher.targets.ram import AlibabaRoles
from tests.targets.recorder import Recorder, recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.targets.alibaba import AlibabaClients


@pytest.fixture
def wire() -> Iterator[Recorder]:
    with recorder() as running:
        yield running


@pytest.fixture
def roles(wire: Recorder, clients: AlibabaClients) -> AlibabaRoles:
    return AlibabaRoles(clients, url=wire.endpoint.url, pause=lambda _: None)


def trusting(*services: object) -> dict[str, object]:
    statements = [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": each}} for each in services]
    denied = {"Effect": "Deny", "Principal": {"Service": ["denied"]}}
    document = json.dumps({"Version": "1", "Statement": [*statements, denied, {"Effect": "Allow", "Principal": {}}]})
    return {"Role": {"RoleName": "r", "AssumeRolePolicyDocument": document}}


def test_the_services_that_may_take_a_role_are_told(wire: Recorder, roles: AlibabaRoles) -> None:
    wire.will_answer(trusting(["imm.aliyuncs.com", "b"], "c"))
    assert roles.trusted_services("own role") == frozenset({"imm.aliyuncs.com", "b", "c"})
    [sent] = wire.sent
    assert (sent.action, sent.query) == ("GetRole", {"RoleName": "own role"})


@pytest.mark.parametrize("document", ["", "{}", "[]", "no json", '{"Statement": [{"Effect": "Allow"}]}'])
def test_a_document_that_says_nothing_trusts_nobody(wire: Recorder, roles: AlibabaRoles, document: str) -> None:
    wire.will_answer({"Role": {"AssumeRolePolicyDocument": document}})
    assert roles.trusted_services("r") == frozenset()


def test_no_role_is_none_and_no_permission_no_answer(wire: Recorder, roles: AlibabaRoles) -> None:
    wire.will_refuse("EntityNotExist.Role", 404)
    assert roles.trusted_services("r") is None
    wire.answers.clear()
    wire.will_refuse("NoPermission", 403)
    with pytest.raises(CredentialsError, match="GetRole") as refused:
        roles.trusted_services("r")
    assert "ram:GetRole" in refused.value.hint
    wire.answers.clear()
    wire.will_answer({})
    with pytest.raises(ServiceUnavailableError, match="no role"):
        roles.trusted_services("r")
