"""The keys of a rule's `editing:`: one media producing job for each object.

The keys are ours, in snake_case as everywhere in the file; what stands inside the JSON values is the
service's own and keeps its spelling.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from dispatcher.config import fields as kinds  # noqa: TC001 - pydantic reads the annotations
from dispatcher.config.strict import StrictModel

ONE_OF = ("template", "project", "timeline")
"""What a job is made of: exactly one of these."""


class EditingModel(StrictModel):
    """The media producing job to submit, and of what it is made: one of template, project and timeline."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in ONE_OF]})

    template: Annotated[kinds.Text, Field(description="the id of a template; its materials are clips_param")] | None = (
        None
    )
    project: Annotated[kinds.Text, Field(description="the id of an editing project")] | None = None
    timeline: kinds.JsonObject | None = None
    clips_param: kinds.JsonObject | None = None
    output_media_config: kinds.JsonObject
    output_media_target: Literal["oss-object", "vod-media", "S3"] = "oss-object"
    editing_produce_config: kinds.JsonObject | None = None
    media_metadata: kinds.JsonObject | None = None
    project_metadata: kinds.JsonObject | None = None
    source: Literal["OpenAPI", "AliyunConsole", "WebSDK"] | None = None
    user_data: kinds.UserData = Field(default_factory=dict)
