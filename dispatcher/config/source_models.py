"""The keys of the configuration's `sources:` and `http:`: one strict model for each type of source."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dispatcher.config import fields as kinds  # noqa: TC001 - pydantic reads the annotations
from dispatcher.config import source_fields as own  # noqa: TC001 - as above
from dispatcher.config.strict import CredentialsModel, StrictModel

FormatName = Literal["oss", "oss_eventbridge", "s3", "eventbridge", "minio", "ceph", "seaweedfs"]
Accepted = Literal["replication", "append"]


class PollModel(StrictModel):
    """List the buckets regularly."""

    type: Literal["poll"]
    every: kinds.Every = Field(default_factory=lambda: None)
    requests: kinds.Monthly = Field(default_factory=lambda: 1_000_000)


class NotifyingModel(StrictModel):
    """What the sources of notifications share."""

    name: kinds.Name | None = None
    format: FormatName | None = None
    accept: list[Accepted] = Field(default_factory=list)
    buckets: list[kinds.Text] = Field(default_factory=list)


class SmqModel(NotifyingModel):
    """Receive notifications from a queue of Alibaba's SMQ (formerly MNS)."""

    type: Literal["smq"]
    endpoint: kinds.EndpointUrl
    queue: kinds.Text
    credentials: CredentialsModel | None = None
    wait: own.Wait = Field(default_factory=lambda: timedelta(seconds=20))
    visibility: own.Visibility = Field(default_factory=lambda: timedelta(seconds=60))


class SqsModel(NotifyingModel):
    """Receive notifications from a queue of AWS SQS, or of a service with its protocol."""

    type: Literal["sqs"]
    queue_url: own.QueueUrl
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", examples=["eu-west-1"])] | None = None
    endpoint: kinds.EndpointUrl | None = None
    credentials: CredentialsModel | None = None


class WebhookModel(NotifyingModel):
    """Receive notifications that are posted to a path of the public listener, in one way of authentication."""

    type: Literal["webhook"]
    path: own.UrlPath
    token: kinds.Text | None = None
    token_file: kinds.Text | None = None
    hmac_secret: kinds.Text | None = None
    hmac_secret_file: kinds.Text | None = None
    hmac_header: own.HeaderName | None = None
    eventbridge_token: kinds.Text | None = None
    eventbridge_token_file: kinds.Text | None = None
    signature: Literal["smq", "sns"] | None = None
    topic_arns: list[kinds.Text] = Field(default_factory=list)


class FolderModel(StrictModel):
    """Watch a directory tree that mirrors a bucket's keys under a prefix."""

    type: Literal["folder"]
    name: kinds.Name | None = None
    path: kinds.Text
    bucket: kinds.Text | None = None
    prefix: str = ""
    scan_every: kinds.Duration = Field(default_factory=lambda: timedelta(minutes=10))
    settle: kinds.Duration = Field(default_factory=lambda: timedelta(seconds=10))
    polling: own.Polling = Field(default_factory=lambda: None)


SourceModel = PollModel | SmqModel | SqsModel | WebhookModel | FolderModel
AnySource = Annotated[SourceModel, Field(discriminator="type")]

BY_TYPE: dict[str, type[SourceModel]] = {
    "poll": PollModel,
    "smq": SmqModel,
    "sqs": SqsModel,
    "webhook": WebhookModel,
    "folder": FolderModel,
}


class PublicModel(StrictModel):
    """The listener that the outside reaches: webhooks and callbacks, nothing else."""

    listen: own.Listen | None = None


class HttpModel(StrictModel):
    """The listeners."""

    listen: own.Listen | None = None
    public: PublicModel = Field(default_factory=PublicModel)
    token: kinds.Text | None = None
    token_file: kinds.Text | None = None
    writes: kinds.Switch | None = None
    hosts: list[kinds.Host] = Field(default_factory=list)
