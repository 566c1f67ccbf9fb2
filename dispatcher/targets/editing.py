"""SubmitMediaProducingJob: one call, one HTTP request, one Outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatcher.core.outcomes import Assets, Outcome, Rejected, Started, Uncertain
from dispatcher.targets.calling import Answered

if TYPE_CHECKING:
    from dispatcher.core.calls import EditingCall
    from dispatcher.targets.calling import Caller

MISMATCH = "IdempotentParameterMismatch"
"""Code of a request whose client token was used with other parameters."""


def submit_job(caller: Caller, call: EditingCall) -> Outcome:
    """Submit the job once. Never raises.

    A token that was used with other parameters proves that a call of this dispatch was taken: which job it
    became is unknown, so that refusal is Uncertain.
    """

    def send(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
        return client.submit_media_producing_job(
            models.SubmitMediaProducingJobRequest(
                client_token=call.client_token,
                output_media_config=call.output_media_config,
                user_data=call.user_data or None,
                template_id=call.template_id or None,
                project_id=call.project_id or None,
                timeline=call.timeline or None,
                clips_param=call.clips_param or None,
                output_media_target=call.output_media_target or None,
                editing_produce_config=call.editing_produce_config or None,
                media_metadata=call.media_metadata or None,
                project_metadata=call.project_metadata or None,
                source=call.source or None,
            )
        )

    match caller.call(call.endpoint, send):
        case Answered() as answered:
            job_id = answered.text("job_id")
            if job_id is None:
                return answered.without("job id")
            assets = Assets(answered.text("media_id"), answered.text("vod_media_id"), answered.text("project_id"))
            return Started(job_id, answered.request_id, assets)
        case Rejected(code=code, message=message, request_id=request_id) if code.startswith(MISMATCH):
            return Uncertain(code, message, request_id, accepted=True)
        case outcome:
            return outcome
