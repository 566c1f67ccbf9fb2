"""RAM, asked for one thing: whether a service role exists, and which services may take it."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dispatcher.core.calls import Endpoint
from dispatcher.targets.alibaba import Product
from dispatcher.targets.reading import Reader, UnknownIdError, malformed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.targets.alibaba import AlibabaClients

RAM_URL = "https://ram.aliyuncs.com"
"""RAM is one for all regions."""
_VERSION = "2015-05-01"


class RamApi(StrEnum):
    """The calls of RAM that this program makes."""

    GET_ROLE = "GetRole"


class AlibabaRoles:
    """Reads roles of the account. Thread-safe. Reads are repeated where that may help (`Reader`)."""

    def __init__(
        self, clients: AlibabaClients, *, url: str = RAM_URL, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._reader = Reader(clients, Product.RAM, pause=pause)
        self._endpoint = Endpoint("cn-hangzhou", url)

    def trusted_services(self, role: str) -> frozenset[str] | None:
        """Return the services that may take a role (`imm.aliyuncs.com`), None if there is no such role.

        Raises CredentialsError or ServiceUnavailableError if RAM does not say.
        """

        def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
            from darabonba.runtime import RuntimeOptions  # noqa: PLC0415 - heavy: only where calls are made

            answer = client.call_api(
                _get_role(models), models.OpenApiRequest(query={"RoleName": role}), RuntimeOptions()
            )
            body = answer.get("body") or {}
            return SimpleNamespace(body=SimpleNamespace(request_id=body.get("RequestId"), role=body.get("Role")))

        try:
            found = self._reader.read(self._endpoint, RamApi.GET_ROLE, read).role
        except UnknownIdError:
            return None
        document = found.get("AssumeRolePolicyDocument") if isinstance(found, dict) else None
        if not isinstance(document, str):
            raise malformed(RamApi.GET_ROLE, self._endpoint, "it tells of no role")
        return _trusted(document)


def _get_role(models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
    return models.Params(
        action=RamApi.GET_ROLE.value,
        version=_VERSION,
        protocol="HTTPS",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )


def _trusted(document: str) -> frozenset[str]:
    """Return the services in the Allow statements of a trust policy; none for a text that is none."""
    try:
        statements = json.loads(document)["Statement"]
        allowed = [each["Principal"].get("Service", []) for each in statements if each.get("Effect") == "Allow"]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):  # a document of strangers: any shape
        return frozenset()
    return frozenset(str(name) for names in allowed for name in (names if isinstance(names, list) else [names]))
