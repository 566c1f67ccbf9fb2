"""RegisterMediaInfo: an object becomes a media asset, or is one already and tells its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatcher.core.calls import Api
from dispatcher.core.outcomes import Outcome, Registered, Rejected, Unauthorized, Uncertain
from dispatcher.errors import CredentialsError, DispatcherError
from dispatcher.targets.calling import Answered
from dispatcher.targets.reading import PassingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.core.calls import Endpoint, RegisterCall
    from dispatcher.targets.calling import Caller
    from dispatcher.targets.reading import Reader


def register_media(
    caller: Caller, reader: Reader, call: RegisterCall, before_read: Callable[[Endpoint, Api], None]
) -> Outcome:
    """Register the object once, never over an existing asset. Never raises.

    The code by which the service refuses a URL that is registered already is not documented: whatever it
    refuses, the URL is looked up, and an asset that has it is the answer.
    """

    def send(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
        return client.register_media_info(
            models.RegisterMediaInfoRequest(
                input_url=call.input_url,
                client_token=call.client_token,
                user_data=call.user_data or None,
                overwrite=False,
            )
        )

    match caller.call(call.endpoint, send):
        case Answered() as answered:
            media_id = answered.text("media_id")
            return answered.without("media id") if media_id is None else Registered(media_id, answered.request_id)
        case Rejected() as refused:
            return _registered_already(reader, call, refused, before_read)
        case outcome:
            return outcome


def _registered_already(
    reader: Reader, call: RegisterCall, refused: Rejected, before_read: Callable[[Endpoint, Api], None]
) -> Outcome:
    def read(client: Any, models: Any) -> Any:  # noqa: ANN401 - the SDK ships no types
        return client.get_media_info(models.GetMediaInfoRequest(input_url=call.input_url))

    try:
        body = reader.read(
            call.endpoint, Api.GET_MEDIA_INFO, read, before=lambda: before_read(call.endpoint, Api.GET_MEDIA_INFO)
        )
    except CredentialsError as error:
        return Unauthorized(refused.code, f"{refused.message}; and {error.message}", refused.request_id)
    except PassingError as error:
        # Nothing is known yet, and nothing is lost: registering is repeated.
        return Uncertain(f"refused ({refused.code}), and whether it is registered is not known", error.message)
    except DispatcherError:
        return refused
    media_id = getattr(body.media_info, "media_id", None)
    return Registered(media_id, body.request_id) if isinstance(media_id, str) and media_id else refused
