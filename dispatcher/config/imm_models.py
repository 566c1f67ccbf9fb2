"""The keys of the configuration's `imm:`, and those of a batch file: what IMM does with the objects of a prefix."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dispatcher.config import fields as kinds
from dispatcher.config.strict import StrictModel
from dispatcher.core.batches import DEFAULT_ROLE, TAG


def _not_ours(tags: dict[str, str]) -> dict[str, str]:
    if TAG in tags:
        raise ValueError(f"the tag {TAG} is ours: it carries the id by which a batch is found again; take it out")
    return tags


Tags = Annotated[
    dict[str, kinds.Text],
    AfterValidator(_not_ours),
    Field(description="tags of the batches, beside the one by which this program finds them"),
]


class ActionModel(StrictModel):
    """One processing template of IMM, with its parameters in IMM's notation."""

    name: Annotated[kinds.Text, Field(examples=["video/convert"])]
    parameters: Annotated[list[kinds.Text], Field(examples=[["pages=3"]])] = Field(default_factory=list)
    fast_fail_policy: (
        Annotated[Literal["abort", "ignore"], Field(description="what a failure of this action does to the batch")]
        | None
    ) = None


Actions = Annotated[list[ActionModel], Field(min_length=1)]


class NotificationModel(StrictModel):
    """Who is told of finished tasks."""

    mns_topic: Annotated[kinds.Text, Field(description="a topic of SMQ (MNS) in the region of the project")]


class ImmModel(StrictModel):
    """Intelligent Media Management, for `batches`: what every batch has, unless its file says otherwise."""

    project: kinds.Text
    endpoint: kinds.EndpointUrl | None = None
    service_role: kinds.Text = DEFAULT_ROLE
    actions: Actions | None = None
    notification: NotificationModel | None = None
    tags: Tags = Field(default_factory=dict)


class BatchFileModel(StrictModel):
    """One batch. What is not written comes from `imm:`, the input of `--rule` from its rule."""

    project: kinds.Text | None = None
    service_role: kinds.Text | None = None
    input: Annotated[str, Field(description="a key prefix where there is one bucket, or any URL form")] | None = None
    match_expressions: list[kinds.Text] = Field(default_factory=list)
    actions: Actions | None = None
    notification: NotificationModel | None = None
    tags: Tags | None = None
