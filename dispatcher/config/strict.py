"""What all models of the configuration are, and the one that several of them hold."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from dispatcher.config import fields as kinds  # noqa: TC001 - pydantic reads the annotations


class StrictModel(BaseModel):
    """No key that is unknown, no value that is nearly right, and no input repeated in an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)


class CredentialsModel(StrictModel):
    """Where keys come from. `default` is the provider's own chain."""

    type: Literal["default", "access_key"] = "default"
    access_key_id: kinds.Text | None = None
    access_key_id_file: kinds.Text | None = None
    access_key_secret: kinds.Text | None = None
    access_key_secret_file: kinds.Text | None = None
    security_token: kinds.Text | None = None
    security_token_file: kinds.Text | None = None
