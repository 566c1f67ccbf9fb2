"""The sources as they are shown: every default written out, every secret masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from dispatcher.core.quantities import format_duration
from dispatcher.core.settings import (
    BearerToken,
    EventBridgeToken,
    FolderSettings,
    Hmac,
    NoAuthentication,
    SmqSettings,
    SmqSignature,
    SnsSignature,
    SqsSettings,
    WebhookSettings,
)

if TYPE_CHECKING:
    from dispatcher.core.settings import Authentication, Credentials, SourceSettings

Json = dict[str, object]

MASK = "***"


def shown_source(source: SourceSettings) -> Json:
    """Return one source as it would be written."""
    match source:
        case SmqSettings():
            return {
                "type": "smq",
                **_notifying(source),
                "endpoint": source.endpoint,
                "queue": source.queue,
                **_own_credentials(source.credentials),
                "wait": format_duration(source.wait),
                "visibility": format_duration(source.visibility),
            }
        case SqsSettings():
            return {
                "type": "sqs",
                **_notifying(source),
                "queue_url": source.queue_url,
                "region": source.region,
                **({} if source.endpoint is None else {"endpoint": source.endpoint}),
                **_own_credentials(source.credentials),
            }
        case WebhookSettings():
            return {
                "type": "webhook",
                **_notifying(source),
                "path": source.path,
                **_authentication(source.authentication),
            }
        case FolderSettings():
            return {
                "type": "folder",
                "name": source.name,
                "path": str(source.path),
                "bucket": source.bucket,
                "prefix": source.prefix,
                "scan_every": format_duration(source.scan_every),
                "settle": format_duration(source.settle),
                "polling": "auto" if source.polling is None else source.polling,
            }
        case _:
            assert_never(source)


def _notifying(source: SmqSettings | SqsSettings | WebhookSettings) -> Json:
    accepted = [word for word in ("replication", "append") if getattr(source.accept, word)]
    return {
        "name": source.name,
        **({} if source.format is None else {"format": str(source.format)}),
        "accept": accepted,
        "buckets": list(source.buckets),
    }


def _authentication(authentication: Authentication) -> Json:
    match authentication:
        case NoAuthentication():
            return {}
        case BearerToken():
            return {"token": MASK}
        case Hmac():
            return {"hmac_secret": MASK, "hmac_header": authentication.header}
        case EventBridgeToken():
            return {"eventbridge_token": MASK}
        case SmqSignature():
            return {"signature": "smq"}
        case SnsSignature():
            return {"signature": "sns", "topic_arns": list(authentication.topic_arns)}
        case _:
            assert_never(authentication)


def _own_credentials(credentials: Credentials | None) -> Json:
    return {} if credentials is None else {"credentials": shown_credentials(credentials)}


def shown_credentials(credentials: Credentials) -> Json:
    """Return credentials without what is secret in them."""
    if credentials.access_key_id is None:
        return {"type": "default"}
    # The id is no secret, but it is half of a pair that people paste into tickets together.
    shown: Json = {"type": "access_key", "access_key_id": MASK, "access_key_secret": MASK}
    return shown if credentials.security_token is None else {**shown, "security_token": MASK}
