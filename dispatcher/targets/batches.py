"""The CreateBatch target: one call, one HTTP request, one Outcome; its task id is the batch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatcher.core.outcomes import Outcome, Started, Uncertain
from dispatcher.errors import DispatcherError
from dispatcher.targets.alibaba import Product
from dispatcher.targets.answers import outcome_of, safe_text
from dispatcher.targets.reading import models_of

if TYPE_CHECKING:
    from dispatcher.core.batches import BatchAction, BatchRequest
    from dispatcher.targets.alibaba import AlibabaClients


class BatchTarget:
    """Makes CreateBatch calls through the official SDK. Thread-safe."""

    def __init__(self, clients: AlibabaClients) -> None:
        self._clients = clients

    def create(self, request: BatchRequest) -> Outcome:
        """Make the call once, without retries, within the configured time-out.

        Not idempotent: the service has no client token for it. Raises ConfigError before anything is
        sent, where the endpoint is none or the SDK is not installed.
        """
        try:
            client = self._clients.client(request.endpoint, Product.IMM)
            answer = client.create_batch(_wire(models_of(Product.IMM), request))
        except DispatcherError:
            raise
        except Exception as error:  # noqa: BLE001 - the contract: every end of a call is an Outcome
            return outcome_of(error, frozenset())
        batch_id = getattr(answer.body, "id", None)
        request_id = getattr(answer.body, "request_id", None)
        request_id = request_id if isinstance(request_id, str) else None
        if not isinstance(batch_id, str) or not batch_id:
            return Uncertain("answer without a batch id", safe_text("HTTP 200, but no Id in it"), request_id)
        return Started(batch_id, request_id)


def _wire(models: Any, request: BatchRequest) -> Any:  # noqa: ANN401 - the SDK ships no types
    topic = request.topic
    return models.CreateBatchRequest(
        project_name=request.project,
        input=models.Input(
            oss=models.InputOSS(
                bucket=request.input.bucket,
                prefix=request.input.prefix,
                match_expressions=list(request.match_expressions) or None,
            )
        ),
        actions=[_wire_action(models, action) for action in request.actions],
        notification=None if topic is None else models.CreateBatchRequestNotification(mns=models.MNS(topic_name=topic)),
        service_role=request.service_role,
        tags=dict(request.tags),
    )


def _wire_action(models: Any, action: BatchAction) -> Any:  # noqa: ANN401 - the SDK ships no types
    policy = action.fast_fail
    return models.CreateBatchRequestActions(
        name=action.name,
        parameters=list(action.parameters) or None,
        fast_fail_policy=None if policy is None else models.FastFailPolicy(action=policy.value),
    )
