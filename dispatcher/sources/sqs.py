"""An AWS SQS queue, or one of a service with its protocol, as a source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dispatcher.errors import DispatcherError, QueueDeniedError, QueueError, QueueMissingError
from dispatcher.sources.queue import BusyQueueError, Message, QueueSource, Received

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.core.settings import SqsSettings

MOST = 10
"""Messages of one batch, for receiving, deleting and hiding."""
WAIT = timedelta(seconds=20)
"""The longest long poll that SQS allows."""
VISIBILITY = timedelta(seconds=120)
"""Asked for with each receipt, whatever the queue's own attribute says; at its half it is extended."""
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 15.0

_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_DENIED = {
    "AccessDenied": "grant sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility on the queue, and "
    "kms:Decrypt on its key if it is encrypted with one",
    "InvalidClientTokenId": "the access key does not exist: check the access key id and the region",
    "UnrecognizedClientException": "the access key does not exist: check the access key id and the region",
    "SignatureDoesNotMatch": "the access key secret does not belong to the access key id, or the clock of this "
    "machine is wrong",
    "InvalidSignatureException": "the access key secret does not belong to the access key id, or the clock of this "
    "machine is wrong",
    "ExpiredToken": "the temporary credentials have expired: renew them",
    "ExpiredTokenException": "the temporary credentials have expired: renew them",
    "RequestExpired": "the clock of this machine is wrong: set it (for example by NTP)",
}
_PASSING = frozenset(
    {"RequestThrottled", "Throttling", "ThrottlingException", "KmsThrottled", "InternalError", "ServiceUnavailable"}
)
_OVER_LIMIT = frozenset({"OverLimit", "AWS.SimpleQueueService.OverLimit"})


@dataclass(frozen=True)
class SqsQueue:
    """The wire of an SQS queue (sources.queue.Queue). Thread-safe, as boto3's clients are.

    boto3's own retries are off: there is one place that tries again.
    """

    settings: SqsSettings
    wait: timedelta = WAIT
    visibility: timedelta = VISIBILITY

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3's clients have no types
        import boto3  # noqa: PLC0415 - slow to import
        from botocore.config import Config  # noqa: PLC0415 - as above

        keys = self.settings.credentials
        secret = keys.access_key_secret.value if keys is not None and keys.access_key_secret is not None else None
        token = keys.security_token.value if keys is not None and keys.security_token is not None else None
        return boto3.Session().client(
            "sqs",
            region_name=self.settings.region,
            endpoint_url=self.settings.endpoint,
            aws_access_key_id=keys.access_key_id if keys is not None else None,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=self.wait.total_seconds() + _READ_SECONDS,
                retries={"total_max_attempts": 1, "mode": "standard"},
            ),
        )

    def receive(self) -> Received:
        answer = self._call(
            "receiving from",
            "receive_message",
            MaxNumberOfMessages=MOST,
            WaitTimeSeconds=int(self.wait.total_seconds()),
            VisibilityTimeout=int(self.visibility.total_seconds()),
        )
        messages = answer.get("Messages", ())
        # A body is any text of JSON, also one that is no Unicode; what it means is the decoder's business.
        return Received(
            tuple(Message(each["ReceiptHandle"], each["Body"].encode("utf-8", "surrogatepass")) for each in messages),
            self.visibility,
        )

    def delete(self, handles: Sequence[str]) -> Sequence[str]:
        failed = self._batches("deleting from", "delete_message_batch", handles)
        return [handle for handle in handles if failed.get(handle) is False]

    def hide(self, handles: Sequence[str], during: timedelta) -> Mapping[str, str]:
        """A receipt's handle stays the same; one that failed by its own fault is not ours any more."""
        seconds = int(during.total_seconds())
        failed = self._batches(
            "hiding messages of", "change_message_visibility_batch", handles, VisibilityTimeout=seconds
        )
        return {handle: handle for handle in handles if failed.get(handle) is not True}

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def _batches(self, doing: str, operation: str, handles: Sequence[str], **arguments: int) -> dict[str, bool]:
        """Return the handles that failed, and whether each failed by its own fault (else it may pass)."""
        failed: dict[str, bool] = {}
        for begin in range(0, len(handles), MOST):
            chunk = dict(enumerate(handles[begin : begin + MOST]))
            entries = [{"Id": str(index), "ReceiptHandle": handle, **arguments} for index, handle in chunk.items()]
            answer = self._call(doing, operation, Entries=entries)
            failed |= {chunk[int(each["Id"])]: bool(each.get("SenderFault")) for each in answer.get("Failed", ())}
        return failed

    def _call(self, doing: str, operation: str, **arguments: object) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow to import
        from botocore.parsers import ResponseParserError  # noqa: PLC0415 - as above

        where = f"{doing} SQS queue {self.settings.queue_url} failed"
        try:
            answer: Mapping[str, Any] = getattr(self._client, operation)(QueueUrl=self.settings.queue_url, **arguments)
        except ClientError as error:
            raise _refusal(where, error.response) from error
        except (BotoCoreError, ResponseParserError) as error:
            raise _failure(where, error) from error
        return answer


def _refusal(where: str, answer: Mapping[str, Any]) -> DispatcherError:
    """Return the error for an answer that is no success. The service's own message may repeat what was signed."""
    metadata = answer.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    code = str(answer.get("Error", {}).get("Code", ""))[:80]
    said = f"HTTP {status} {code}, request {str(metadata.get('RequestId', ''))[:80]}"
    short = code.rpartition("#")[2]
    if short in _MISSING:
        return QueueMissingError(
            f"{where}: there is no such queue ({said})", hint="check `queue_url`, `region` and `endpoint` of the source"
        )
    if short in _PASSING or status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BusyQueueError(f"{where} ({said})", hint="the service is busy or down; it is asked again")
    if short in _OVER_LIMIT:
        return QueueError(
            f"{where}: too many messages are received and not deleted ({said})",
            hint="another receiver of this queue holds them; give this program a queue of its own",
        )
    if short in _DENIED or short.startswith("AccessDenied") or status in (401, 403):
        return QueueDeniedError(f"{where}: refused ({said})", hint=_DENIED.get(short, _DENIED["AccessDenied"]))
    return QueueError(
        f"{where} ({said})", hint="look the code up in the documentation of SQS; nothing is lost, it is asked again"
    )


def _failure(where: str, error: Exception) -> DispatcherError:
    """Return the error for a request that got no answer, by the name of what boto3 raises."""
    from botocore import exceptions  # noqa: PLC0415 - slow to import
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - as above

    keys = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.TokenRetrievalError,
        exceptions.NoAuthTokenError,
    )
    if isinstance(error, keys):
        return QueueDeniedError(
            f"{where}: there are no usable credentials ({type(error).__name__})",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `credentials:` of the source",
        )
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError | ResponseParserError):
        return BusyQueueError(
            f"{where}: no answer ({type(error).__name__})",
            hint="check the endpoint and the network; nothing is lost, it is asked again",
        )
    return QueueError(f"{where}: {type(error).__name__}", hint="check `queue_url`, `region` and `endpoint`")


def open_sqs(settings: SqsSettings) -> QueueSource:
    """Return the source of a queue; nothing is requested yet. Without `credentials` boto3's chain gives the keys."""
    return QueueSource(
        name=settings.name,
        queue=SqsQueue(settings),
        wait=WAIT,
        visibility=VISIBILITY,
        format=settings.format,
        accept=settings.accept,
    )
