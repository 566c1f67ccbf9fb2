"""Dispatch ids: the published vectors, and what must never collide."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.dispatch import (
    ID_LENGTH,
    attempt_token,
    content_identity,
    dispatch_id,
    id_from_bytes,
    id_to_bytes,
    parse_attempt_token,
)
from dispatcher.core.events import decode_key, encode_key

VECTORS = json.loads((Path(__file__).parent.parent / "conformance" / "dispatch_ids.json").read_text())["vectors"]

fields = st.tuples(
    st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8)
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["dispatch_id"])
def test_published_vectors_hold(vector: dict[str, str]) -> None:
    identity = content_identity(vector["etag"], int(vector["size"]))
    made = dispatch_id(vector["rule"], vector["bucket"], vector["key"], identity, vector["run"])
    assert made == vector["dispatch_id"]


@given(fields, fields)
def test_other_fields_give_another_id(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    made, again = (dispatch_id(*each) for each in (one, other))
    assert (made == again) == (one == other)


@given(st.binary(max_size=40), st.text(max_size=10))
def test_an_id_survives_as_bytes_and_in_a_token(raw: bytes, rule: str) -> None:
    made = dispatch_id(rule, "b", decode_key(raw), "c:e:1")
    assert len(made) == ID_LENGTH
    assert len(id_to_bytes(made)) == 16
    assert id_from_bytes(id_to_bytes(made)) == made
    assert parse_attempt_token(attempt_token(made, 7)) == (made, 7)
    assert encode_key(decode_key(raw)) == raw


@given(st.binary(min_size=16, max_size=16))
def test_ids_are_base32_of_their_bytes(raw: bytes) -> None:
    made = id_from_bytes(raw)
    assert made == base64.b32encode(raw).decode().lower().rstrip("=")
    assert id_to_bytes(made) == raw


@pytest.mark.parametrize("text", ["", "a" * 25, "a" * 27, "a" * 25 + "1", "a" * 25 + "_", "A" * 26, "é" * 26, " " * 26])
def test_what_is_no_id_has_no_bytes(text: str) -> None:
    with pytest.raises(ValueError, match=r"no dispatch id|invalid literal"):
        id_to_bytes(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "abzujfgdcb5axrvqdg6paxmse4",
        "abzujfgdcb5axrvqdg6paxmse4.",
        "abzujfgdcb5axrvqdg6paxmse4.-1",
        "ABZUJFGDCB5AXRVQDG6PAXMSE4.1",
        "abzujfgdcb5axrvqdg6paxmse4.²",
        "abzujfgdcb5axrvqdg6paxmse4.1234567890",
    ],
)
def test_foreign_texts_are_no_tokens(text: str) -> None:
    assert parse_attempt_token(text) is None


def test_quotes_and_case_of_an_etag_do_not_matter() -> None:
    assert content_identity('"D41D8CD9-2"', 5) == content_identity("d41d8cd9-2", 5) == "c:d41d8cd9-2:5"
