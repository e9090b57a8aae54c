"""Tokens are opaque, checked, and name the reason when refused."""

import contextlib

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import ApiError
from services.chassis.streams.tokens import (
    ResumeTokens,
    TokenExpired,
    decode_page_token,
    encode_page_token,
    filter_hash,
    length_delimited,
)

names = st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(names, st.integers(min_value=0, max_value=2**63)))
def test_a_token_gives_back_its_positions(positions: dict[str, int]) -> None:
    tokens = ResumeTokens("epoch")
    token = tokens.encode(positions, "abcd")
    assert tokens.decode(token, "abcd") == positions
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("token", ["", "x", "not a token", "AAAA", "é", "A" * 10_000, "+/+/"])
def test_a_token_that_is_none_of_ours_is_refused(token: str) -> None:
    with pytest.raises(ApiError) as caught:
        ResumeTokens("epoch").decode(token)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "RESUME_TOKEN_INVALID"
    assert caught.value.field_violations[0].field == "resume_token"


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_a_token_with_a_changed_letter_is_never_read_as_another_position(index: int, letter: str) -> None:
    tokens = ResumeTokens("epoch")
    token = tokens.encode({"r1": 41}, "abcd")
    index %= len(token)
    changed = token[:index] + letter + token[index + 1 :]
    found = {}
    # The last letter may hold bits that mean nothing.
    with contextlib.suppress(ApiError):
        found = tokens.decode(changed, "abcd")
    assert found in ({}, {"r1": 41})


def test_a_token_of_another_filter_is_refused_as_such() -> None:
    tokens = ResumeTokens("epoch")
    with pytest.raises(ApiError) as caught:
        tokens.decode(tokens.encode({"r1": 41}, "abcd"), "ef01")
    assert caught.value.reason == "RESUME_TOKEN_FILTER_MISMATCH"


def test_a_token_of_another_epoch_has_expired() -> None:
    with pytest.raises(TokenExpired):
        ResumeTokens("new").decode(ResumeTokens("old").encode({"r1": 41}))


def test_the_hash_of_a_filter_ignores_what_is_no_filter() -> None:
    assert filter_hash(StringValue(value="a")) != filter_hash(StringValue(value="b"))
    assert filter_hash(StringValue(value="a"), "value") == filter_hash(StringValue(value="b"), "value")
    first, second = Struct(), Struct()
    first.update({"a": 1, "b": 2})
    second.update({"b": 2, "a": 1})
    assert filter_hash(first) == filter_hash(second)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000])
def test_length_delimited_is_the_encoding_of_a_field(size: int) -> None:
    assert length_delimited(1, b"x" * size) == BytesValue(value=b"x" * size).SerializeToString() or size == 0


@given(st.lists(names, min_size=1, max_size=3))
def test_a_page_token_gives_back_its_key(parts: list[str]) -> None:
    assert decode_page_token(encode_page_token(*parts), len(parts)) == parts


@pytest.mark.parametrize("token", ["x", "AAAA", encode_page_token("only one"), "é"])
def test_a_page_token_of_another_list_is_refused(token: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode_page_token(token, 2)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


def test_no_page_token_is_the_first_page() -> None:
    assert decode_page_token("", 2) == []
