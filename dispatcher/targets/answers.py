"""What the SDK's exceptions mean: the one place that maps them to an Outcome.

The rule is that of `decide`: what is not proven unsent or refused is Uncertain. The SDK hides the
cause of a transport failure two levels deep, and the status of an answer that is not JSON
altogether; both are handled here so that nothing else needs to know.
"""

from __future__ import annotations

import re
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.outcomes import NotSent, Outcome, Rejected, Throttled, Unauthorized, Uncertain
from dispatcher.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

MESSAGE_LIMIT = 300
CODE_LIMIT = 100
_MASK = "***"

_SECRET = re.compile(
    r"(?i)(security-?_?token|access-?_?key-?_?secret|authorization|signature)(\W{1,4})(?:ACS3-HMAC-SHA256\s+)?[^\s&\"',;]+"
)
# Refusals of the caller, not of the call: no request of this account passes until somebody acts.
# SignatureNonceUsed is none of them, see `_answered`.
_UNAUTHORIZED = re.compile(
    r"(?i)^(forbidden|nopermission|no_permission|unauthorized|accessdenied|notauthorized|signaturedoesnotmatch|"
    r"incompletesignature|invalidsignature|invalidaccesskey|invalidsecuritytoken|missingsecuritytoken|securitytoken|"
    r"invalidtimestamp|invalidcredential|inactiveaccesskey|imsuser|userdisable)"
    r"|arrear|overdue|in_?debt|insufficientbalance|not_?open"
)
# TLS failures that only occur before the first byte of a request.
_HANDSHAKE_FAILURES = frozenset(
    {
        "CERTIFICATE_VERIFY_FAILED",
        "WRONG_VERSION_NUMBER",
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "HTTP_REQUEST",
    }
)
_UNAUTHORIZED_STATUS = frozenset({401, 403})
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408


def safe_text(text: object) -> str:
    """Return a message of a stranger: printable, bounded, and without what looks like a secret."""
    whole = printable(" ".join(str(text).split()))
    masked = _SECRET.sub(rf"\1\2{_MASK}", whole)
    return masked if len(masked) <= MESSAGE_LIMIT else masked[: MESSAGE_LIMIT - 1] + "…"


def outcome_of(error: Exception, not_started_codes: AbstractSet[str]) -> Outcome:
    """Return how a call ended that raised `error` in the SDK."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _answered(error, status, not_started_codes)
    if not hasattr(error, "last_request"):
        # Raised by the SDK's own checks, or before it was reached at all.
        return _before_sending(error)
    cause = getattr(error, "inner_exception", None)
    if error.last_request is None:
        return _before_sending(cause if isinstance(cause, Exception) else error)
    return _sent(cause)


def _answered(error: Exception, status: int, not_started_codes: AbstractSet[str]) -> Outcome:
    """The service answered with an error in its own form."""
    code = _text(error, "code")
    message = safe_text(_message(error))
    request_id = _text(error, "request_id")
    if code is not None and code.startswith("Throttling"):
        return Throttled(code, message, request_id, _retry_after(error))
    if status < 500:  # noqa: PLR2004 - where HTTP's server errors begin
        return _refused(error, status, code, message, request_id)
    if code is not None and code in not_started_codes:
        return NotSent(code)
    return Uncertain(code or f"HTTP{status}", message, request_id)


def _refused(error: Exception, status: int, code: str | None, message: str, request_id: str | None) -> Outcome:
    """The answer is a 4xx other than throttling."""
    shown = code or f"HTTP{status}"
    if code == "SignatureNonceUsed":
        # Each call has a fresh nonce: something on the way sent ours twice, and the first may have started.
        return Uncertain(shown, message, request_id)
    if status in _UNAUTHORIZED_STATUS or (code is not None and _UNAUTHORIZED.search(code)):
        return Unauthorized(shown, message, request_id)
    if status == _TOO_MANY_REQUESTS or _retry_after(error) is not None:
        return Throttled(shown, message, request_id, _retry_after(error))
    if code is None or status == _REQUEST_TIMEOUT:
        # JSON, but not the service's: a gateway on the way may have passed the request on.
        return Uncertain(shown, message, request_id)
    return Rejected(shown, message, request_id)


def _before_sending(error: Exception) -> Outcome:
    """The SDK failed before it had a signed request: nothing can have been started."""
    name = type(error).__name__
    if name == "CredentialException":
        return Unauthorized("NoCredentials", safe_text(getattr(error, "message", error)))
    if getattr(error, "code", None) == "InvalidCredentials":
        return Unauthorized("NoCredentials", safe_text(_message(error)))
    if isinstance(error, UnicodeError):
        # This call can never be written; others can, so the target must not pause for it.
        return Rejected("NotEncodable", "the request holds text that is not valid Unicode")
    return NotSent(safe_text(f"{name}: {error}"))


def _sent(cause: object) -> Outcome:
    """The request was handed to the transport: only a proof that it never left makes it NotSent."""
    import requests.exceptions as http  # noqa: PLC0415 - comes with the SDK, as late

    # The SDK wraps what requests raises while sending, but not what it raises while preparing.
    failure = cause if isinstance(cause, http.RequestException) else getattr(cause, "__context__", None)
    if not isinstance(failure, http.RequestException):
        name = type(cause).__name__ if isinstance(cause, BaseException) else "no answer"
        return Uncertain("unreadable answer", safe_text(f"{name}: {cause}"))
    reason = _never_left(failure)
    if reason is not None:
        return NotSent(reason)
    if isinstance(failure, http.ReadTimeout):
        return Uncertain("no answer in time", safe_text(failure))
    return Uncertain("connection lost", safe_text(failure))


def _never_left(failure: Exception) -> str | None:
    """Return why the request certainly never left this machine, None if it may have.

    Only the exception that requests wraps is looked at, never the chain below it: that may hold
    exceptions which the caller was handling.
    """
    import requests.exceptions as http  # noqa: PLC0415 - comes with the SDK, as late
    from urllib3 import exceptions as pool  # noqa: PLC0415 - as above

    wrapped = failure.args[0] if failure.args else None
    reason = getattr(wrapped, "reason", wrapped)
    proofs: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (
            (http.InvalidURL, http.MissingSchema, http.InvalidSchema),
            "the URL of the endpoint or of the proxy is not valid",
        ),
        (pool.NameResolutionError, "the endpoint's name is not known"),
        (pool.NewConnectionError, "connection refused or no route"),
        ((http.ConnectTimeout, pool.ConnectTimeoutError), "connecting took too long"),
        (pool.ProxyError, "the proxy cannot be reached"),
        (pool.ClosedPoolError, "this program is closing its connections"),
    )
    for kind, meaning in proofs:
        if isinstance(failure, kind) or isinstance(reason, kind):
            return meaning
    handshake = reason.args[0] if isinstance(reason, pool.SSLError) and reason.args else reason
    if isinstance(handshake, ssl.SSLError) and handshake.reason in _HANDSHAKE_FAILURES:
        return f"no TLS connection: {handshake.reason}"
    return None


def _text(error: Exception, name: str) -> str | None:
    """Return a text of the answer; the SDK writes a missing one as the text `None`."""
    value = getattr(error, name, None)
    if not isinstance(value, str) or value in ("", "None"):
        return None
    return printable(value)[:CODE_LIMIT]


def _message(error: Exception) -> str:
    data = getattr(error, "data", None)
    said = data.get("Message") if isinstance(data, dict) else None
    return said if isinstance(said, str) else str(getattr(error, "message", error))


def _retry_after(error: Exception) -> timedelta | None:
    """Return the wait that the service asked for; the SDK gives it in milliseconds."""
    value = getattr(error, "retry_after", None)
    return timedelta(milliseconds=value) if isinstance(value, int) and value > 0 else None
