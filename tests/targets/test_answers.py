"""The map from answers of the service to outcomes, for answers that the simulator does not give."""

from __future__ import annotations

from datetime import timedelta

import pytest
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException, ThrottlingException

from dispatcher.core.outcomes import NotSent, Outcome, Rejected, Throttled, Unauthorized, Uncertain
from dispatcher.targets.answers import CODE_LIMIT, MESSAGE_LIMIT, outcome_of, safe_text

NOT_STARTED = frozenset({"SystemBusy"})


def answer(status: int, code: str | None, retry_after: int | None = None) -> Exception:
    """The exception that the SDK raises for an answer with this status and code."""
    fields = {"status_code": status, "code": str(code), "message": "m", "request_id": "r", "data": {"Message": "m"}}
    if retry_after is not None:
        throttled: Exception = ThrottlingException(retry_after=retry_after, **fields)
        return throttled
    failed: Exception = (ClientException if status < 500 else ServerException)(**fields)
    return failed


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "Throttling", Throttled),
        (400, "Throttling.User", Throttled),
        (503, "Throttling.Api", Throttled),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", Uncertain),
        (503, "ServiceUnavailable", Uncertain),
        (504, None, Uncertain),
        (503, "SystemBusy", NotSent),
        (400, "SystemBusy", Rejected),
        (401, "Anything", Unauthorized),
        (403, "Anything", Unauthorized),
        (403, None, Unauthorized),
        (400, "Forbidden.RAM", Unauthorized),
        (400, "NoPermission", Unauthorized),
        (400, "SignatureDoesNotMatch", Unauthorized),
        (400, "IncompleteSignature", Unauthorized),
        (400, "InvalidTimeStamp.Expired", Unauthorized),
        (404, "InvalidAccessKeyId.NotFound", Unauthorized),
        (403, "InvalidAccessKeyId.Inactive", Unauthorized),
        (400, "InvalidSecurityToken.Expired", Unauthorized),
        (400, "Arrearage", Unauthorized),
        (400, "Account.Arrearage", Unauthorized),
        (400, "User.InDebt", Unauthorized),
        (400, "PaymentOverdue", Unauthorized),
        (400, "SignatureNonceUsed", Uncertain),
        (408, "RequestTimeout", Uncertain),
        (404, None, Uncertain),
        (400, "InvalidParameter", Rejected),
        (404, "WorkflowNotFound", Rejected),
        (409, "Conflict", Rejected),
    ],
)
def test_an_answer_is_classified_by_status_and_code(status: int, code: str | None, kind: type[Outcome]) -> None:
    assert isinstance(outcome_of(answer(status, code), NOT_STARTED), kind)


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "FlowControl", Throttled("FlowControl", "m", "r", timedelta(milliseconds=250))),
        (503, "Throttling", Throttled("Throttling", "m", "r", timedelta(milliseconds=250))),
        # A wait that is asked for does not prove that nothing was started.
        (500, "InternalError", Uncertain("InternalError", "m", "r")),
    ],
)
def test_a_wait_that_the_service_asks_for_is_kept(status: int, code: str, outcome: Outcome) -> None:
    assert outcome_of(answer(status, code, retry_after=250), NOT_STARTED) == outcome


@pytest.mark.parametrize("error", [RuntimeError("x"), ValueError("x"), ImportError("no SDK")])
def test_what_fails_before_the_sdk_is_reached_is_not_sent(error: Exception) -> None:
    assert isinstance(outcome_of(error, NOT_STARTED), NotSent)


def test_codes_and_messages_are_bounded() -> None:
    error = ClientException(status_code=400, code="X" * 5000, message="m", request_id="r", data={"Message": "y" * 5000})
    outcome = outcome_of(error, NOT_STARTED)
    assert isinstance(outcome, Rejected)
    assert len(outcome.code) == CODE_LIMIT
    assert len(outcome.message) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    "text",
    [
        "server canonicalRequest is: POST\n/\nx-acs-security-token:hush-hush\nx-acs-date:now",
        '{"SecurityToken": "hush-hush", "Expiration": "later"}',
        '{"AccessKeySecret":"hush-hush"}',
        "access_key_secret=hush-hush&x=1",
        "Authorization: ACS3-HMAC-SHA256 Credential=hush-hush,SignedHeaders=a",
        "https://bucket.example/key?Expires=1&Signature=hush-hush",
        "https://bucket.example/key?X-Amz-Signature=hush-hush&x=1",
        "https://bucket.example/key?x-oss-signature=hush-hush",
    ],
)
def test_no_secret_is_repeated(text: str) -> None:
    assert "hush" not in safe_text(text)


def test_control_characters_are_escaped() -> None:
    assert safe_text("a\x1b[31mb\u202ec") == "a\\x1b[31mb\\u202ec"
