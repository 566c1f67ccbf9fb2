"""The configuration file's keys: strict models, from which also the JSON Schema is made.

Descriptions here are what an editor shows. Meaning across keys is decided in `resolving`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core.core_schema import no_info_before_validator_function

from dispatcher.config import fields as kinds  # noqa: TC001 - pydantic reads the annotations
from dispatcher.core.extensions import MEDIA
from dispatcher.core.ratelimit import Rate

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)


class CredentialsModel(_Model):
    """Where keys come from. `default` is the provider's own chain."""

    type: Literal["default", "access_key"] = "default"
    access_key_id: kinds.Text | None = None
    access_key_id_file: kinds.Text | None = None
    access_key_secret: kinds.Text | None = None
    access_key_secret_file: kinds.Text | None = None
    security_token: kinds.Text | None = None
    security_token_file: kinds.Text | None = None


class BucketModel(_Model):
    """One bucket. Only needed where a rule's URL does not tell everything."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", description="the bucket's name")]
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", examples=["cn-hangzhou"])] | None = None
    endpoint: kinds.EndpointUrl | None = None
    addressing: Literal["virtual", "path"] | None = None
    api: Literal["s3"] = "s3"
    hosts: list[kinds.Host] = []
    credentials: CredentialsModel | None = None


class ImsModel(_Model):
    """Intelligent Media Services."""

    endpoint: kinds.EndpointUrl | None = None


class PollModel(_Model):
    """List the buckets regularly."""

    type: Literal["poll"]
    every: kinds.Every = Field(default_factory=lambda: None)
    requests: kinds.Monthly = Field(default_factory=lambda: 1_000_000)


class WorkflowModel(_Model):
    """The workflow to start, and with what."""

    id: kinds.Text
    input_type: Literal["oss"] = "oss"
    media_url: kinds.MediaUrl = "oss://{bucket}/{key}"
    skip_input_verification: kinds.Switch = False
    user_data: kinds.UserData = {}


class _WorkflowForm:
    """A workflow id alone is the short form of a mapping."""

    def __get_pydantic_core_schema__(self, source: type[object], handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(self._mapping, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "description": "a workflow id, or a mapping",
            "anyOf": [{"type": "string", "minLength": 1}, handler(schema)],
        }

    @staticmethod
    def _mapping(value: object) -> object:
        return value if isinstance(value, dict) else {"id": value}


class RuleModel(_Model):
    """Which objects start which workflow."""

    name: kinds.Name
    id: kinds.Name | None = None
    was: list[kinds.Name] = []
    input: Annotated[str, Field(description="a key prefix where there is one bucket, or any URL form")]
    match: Literal["documented", "prefix"] | None = None
    extensions: kinds.Extensions = Field(default_factory=lambda: MEDIA)
    exclude: list[kinds.Pattern] = []
    min_size: kinds.Bytes = 1
    settle: kinds.Settle = Field(default_factory=lambda: None)
    existing: kinds.ExistingObjects = Field(default_factory=lambda: False)
    budget: kinds.Budget = Field(default_factory=lambda: 10_000)
    on_uncertain: Literal["retry", "hold"] = "retry"
    workflow: Annotated[WorkflowModel, _WorkflowForm()]


class LimitsModel(_Model):
    """Rates of the account, for all rules together."""

    start_workflow: kinds.CallRate = Field(alias="StartWorkflow", default_factory=lambda: Rate(10))
    list_workflow_tasks: kinds.CallRate = Field(alias="ListWorkflowTasks", default_factory=lambda: Rate(5))
    get_workflow_task: kinds.CallRate = Field(alias="GetWorkflowTask", default_factory=lambda: Rate(5))
    concurrent_calls: kinds.ConcurrentCalls = 8
    not_started_codes: list[kinds.Text] = []
    call_timeout: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=10))
    drain_timeout: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=30))


class UncertainModel(_Model):
    """How a call without an answer is settled."""

    after: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=60))
    every: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=60))
    sweeps: kinds.Sweeps = 5


class LedgerModel(_Model):
    """Where the ledger is, and how long finished rows keep their detail."""

    url: kinds.Text | None = None
    keep: kinds.Duration = Field(default_factory=lambda: timedelta(days=90))


class ConfigModel(_Model):
    """The configuration of oss-dispatcher."""

    version: kinds.Version = 1
    buckets: list[BucketModel] = []
    ims: ImsModel = Field(default_factory=ImsModel)
    credentials: CredentialsModel = Field(default_factory=CredentialsModel)
    sources: list[PollModel] = Field(default_factory=lambda: [PollModel(type="poll")])
    rules: Annotated[list[RuleModel], Field(min_length=1)]
    never_trigger: list[str] = []
    overlap: Literal["allow", "warn", "deny"] = "warn"
    limits: LimitsModel = Field(default_factory=LimitsModel)
    uncertain: UncertainModel = Field(default_factory=UncertainModel)
    ledger: LedgerModel = Field(default_factory=LedgerModel)
