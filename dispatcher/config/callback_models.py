"""The keys of the configuration's `callbacks:`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dispatcher.config import fields as kinds  # noqa: TC001 - pydantic reads the annotations
from dispatcher.config.strict import StrictModel


class CallbacksModel(StrictModel):
    """Completion callbacks of IMS: what ended is looked at at once, not at the next sweep."""

    url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^\s|]+$",
            max_length=256,
            description="the address as it is registered at IMS; it leads to /callbacks/ims of the public listener",
            examples=["https://events.example.com/callbacks/ims"],
        ),
    ]
    auth_key: kinds.Text | None = None
    auth_key_file: kinds.Text | None = None
