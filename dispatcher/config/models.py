"""The configuration file's keys: strict models, from which also the JSON Schema is made.

Descriptions here are what an editor shows. Meaning across keys is decided in `resolving`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic_core.core_schema import no_info_before_validator_function

from dispatcher.config import fields as kinds  # noqa: TC001 - pydantic reads the annotations
from dispatcher.config.callback_models import CallbacksModel  # noqa: TC001 - as above
from dispatcher.config.editing_models import EditingModel  # noqa: TC001 - as above
from dispatcher.config.imm_models import ImmModel  # noqa: TC001 - as above
from dispatcher.config.price_models import PricesModel  # noqa: TC001 - as above
from dispatcher.config.source_models import AnySource, HttpModel
from dispatcher.config.strict import CredentialsModel, StrictModel
from dispatcher.core.extensions import MEDIA
from dispatcher.core.ratelimit import Rate

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class BucketModel(StrictModel):
    """One bucket. Only needed where a rule's URL does not tell everything."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", description="the bucket's name")]
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", examples=["cn-hangzhou"])] | None = None
    endpoint: kinds.EndpointUrl | None = None
    addressing: Literal["virtual", "path"] | None = None
    api: Literal["s3", "oss"] = "s3"
    hosts: list[kinds.Host] = Field(default_factory=list)
    credentials: CredentialsModel | None = None


class ImsModel(StrictModel):
    """Intelligent Media Services."""

    endpoint: kinds.EndpointUrl | None = None


class WorkflowModel(StrictModel):
    """The workflow to start, and with what."""

    id: kinds.Text
    input_type: Literal["oss", "media"] = "oss"
    media_url: kinds.MediaUrl = "oss://{bucket}/{key}"
    skip_input_verification: kinds.Switch = False
    user_data: kinds.UserData = Field(default_factory=dict)


class _WorkflowForm:
    """A workflow id alone is the short form of a mapping."""

    def __get_pydantic_core_schema__(self, source: type[object], handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(self._mapping, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        mapping = next(form for form in handler(schema)["anyOf"] if form.get("type") != "null")
        return {"description": "a workflow id, or a mapping", "anyOf": [{"type": "string", "minLength": 1}, mapping]}

    @staticmethod
    def _mapping(value: object) -> object:
        return value if isinstance(value, dict) else {"id": value}


class RuleModel(StrictModel):
    """Which objects start which workflow or editing job."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["workflow"]}, {"required": ["editing"]}]})

    name: kinds.Name
    id: kinds.Name | None = None
    was: list[kinds.Name] = Field(default_factory=list)
    input: Annotated[str, Field(description="a key prefix where there is one bucket, or any URL form")]
    match: Literal["documented", "prefix"] | None = None
    extensions: kinds.Extensions = Field(default_factory=lambda: MEDIA)
    exclude: list[kinds.Pattern] = Field(default_factory=list)
    min_size: kinds.Bytes = 1
    settle: kinds.Settle = Field(default_factory=lambda: None)
    existing: kinds.ExistingObjects = Field(default_factory=lambda: False)
    budget: kinds.Budget = Field(default_factory=lambda: 10_000)
    on_uncertain: Literal["retry", "hold"] = "retry"
    workflow: Annotated[WorkflowModel | None, _WorkflowForm()] = None
    editing: EditingModel | None = None


class LimitsModel(StrictModel):
    """Rates of the account, for all rules together."""

    start_workflow: kinds.CallRate = Field(alias="StartWorkflow", default_factory=lambda: Rate(10))
    list_workflow_tasks: kinds.CallRate = Field(alias="ListWorkflowTasks", default_factory=lambda: Rate(5))
    get_workflow_task: kinds.CallRate = Field(alias="GetWorkflowTask", default_factory=lambda: Rate(5))
    submit_media_producing_job: kinds.CallRate = Field(
        alias="SubmitMediaProducingJob", default_factory=lambda: Rate(25)
    )
    list_media_producing_jobs: kinds.CallRate = Field(alias="ListMediaProducingJobs", default_factory=lambda: Rate(5))
    get_media_producing_job: kinds.CallRate = Field(alias="GetMediaProducingJob", default_factory=lambda: Rate(5))
    register_media_info: kinds.CallRate = Field(alias="RegisterMediaInfo", default_factory=lambda: Rate(10))
    get_media_info: kinds.CallRate = Field(alias="GetMediaInfo", default_factory=lambda: Rate(5))
    concurrent_calls: kinds.ConcurrentCalls = 8
    not_started_codes: list[kinds.Text] = Field(default_factory=list)
    call_timeout: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=10))
    drain_timeout: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=30))


class UncertainModel(StrictModel):
    """How a call without an answer is settled."""

    after: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=60))
    every: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=60))
    sweeps: kinds.Sweeps = 5


class LedgerModel(StrictModel):
    """Where the ledger is, and how long finished rows keep their detail."""

    url: kinds.Text | None = None
    keep: kinds.Duration = Field(default_factory=lambda: timedelta(days=90))


class ConfigModel(StrictModel):
    """The configuration of oss-dispatcher."""

    version: kinds.Version = 1
    buckets: list[BucketModel] = Field(default_factory=list)
    ims: ImsModel = Field(default_factory=ImsModel)
    imm: ImmModel | None = None
    credentials: CredentialsModel = Field(default_factory=CredentialsModel)
    sources: list[AnySource] = Field(default_factory=list)
    rules: Annotated[list[RuleModel], Field(min_length=1)]
    never_trigger: list[str] = Field(default_factory=list)
    overlap: Literal["allow", "warn", "deny"] = "warn"
    limits: LimitsModel = Field(default_factory=LimitsModel)
    uncertain: UncertainModel = Field(default_factory=UncertainModel)
    ledger: LedgerModel = Field(default_factory=LedgerModel)
    http: HttpModel = Field(default_factory=HttpModel)
    prices: PricesModel | None = None
    callbacks: CallbacksModel | None = None
