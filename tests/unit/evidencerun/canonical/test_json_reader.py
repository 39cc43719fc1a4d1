# SPDX-License-Identifier: Apache-2.0
"""What the JSON reader gives and refuses, and the canonical JSON form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.canonical import canonical_json, parse_json, sha256_hex, sha256_prefixed
from evidencerun.errors import InputError

REFUSED = {
    "a duplicate key": (b'{"a": 1, "a": 2}', "E1109"),
    "a duplicate key by escape": (b'{"a": 1, "\\u0061": 2}', "E1109"),
    "NaN": (b"[NaN]", "E1114"),
    "an infinity": (b"[-Infinity]", "E1114"),
    "a number that becomes an infinity": (b"[1e999]", "E1114"),
    "an integer of 500 digits": (b"9" * 500, "E1114"),
    "a lone surrogate": (b'["\\ud800"]', "E1115"),
    "a lone surrogate as key": (b'{"\\udc00": 1}', "E1115"),
    "bytes that are no UTF-8": (b'["\xff"]', "E1102"),
    "an encoded surrogate": (b'["\xed\xa0\x80"]', "E1102"),
    "a byte order mark": (b"\xef\xbb\xbf[]", "E1106"),
    "a trailing comma": (b"[1,]", "E1106"),
    "two values": (b"1 2", "E1106"),
    "nothing": (b"", "E1106"),
    "a control character in a text": (b'["\x01"]', "E1106"),
    "65 levels": (b"[" * 65 + b"]" * 65, "E1108"),
    "a million open brackets": (b"[" * 1_000_000, "E1108"),
    "65 levels behind brackets in a text": (b'["[[[[", ' + b"[" * 64 + b"]" * 65, "E1108"),
    "more bytes than allowed": (b" " * 1_048_577, "E1101"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    document, code = REFUSED[name]

    with pytest.raises(InputError) as caught:
        parse_json(document, what="the document")

    assert caught.value.code == code


def test_the_position_is_named() -> None:
    with pytest.raises(InputError, match="line 2, column 6"):
        parse_json(b'{\n"a": x}', what="the document")


def test_too_many_values_are_refused_before_they_are_made() -> None:
    for document in (b"[" + b"[]," * 9 + b"[]]", b"[1,2,3,4,5,6,7,8,9,10,11]", b'{"a":[1,2,3,4,5,6,7,8,9,10]}'):
        with pytest.raises(InputError) as caught:
            parse_json(document, what="x", max_values=10)
        assert caught.value.code == "E1107"


def test_commas_and_brackets_in_texts_are_no_values() -> None:
    assert parse_json(b'["[{,,,,,,,,,,,\\",,,,,", 2]', what="x", max_values=10) == ['[{,,,,,,,,,,,",,,,,', 2]


def test_brackets_in_texts_are_no_nesting() -> None:
    document = json.dumps(["[" * 100, '"' * 100, "\\" * 101]).encode()

    assert parse_json(document, what="the document", max_depth=1) == ["[" * 100, '"' * 100, "\\" * 101]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_json_writes_is_read_back(value: object) -> None:
    assert parse_json(json.dumps(value).encode(), what="the document") == value


@given(st.binary(max_size=100))
def test_any_bytes_give_a_value_or_a_refusal(document: bytes) -> None:
    code = "E11"
    try:
        parse_json(document, what="the document")
    except InputError as refusal:
        code = refusal.code
    assert code.startswith("E11")


def test_canonical_json_is_rfc_8785() -> None:
    assert canonical_json({"b": 1.0, "a": ["é", None, True]}) == '{"a":["é",null,true],"b":1}'.encode()


DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value", [2**60, float("nan"), "\ud800", object(), DEEP], ids=lambda value: type(value).__name__
)
def test_canonical_json_refuses_what_has_no_form(value: object) -> None:
    with pytest.raises(InputError) as caught:
        canonical_json(value)

    assert caught.value.code == "E1120"


def test_digests() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    assert sha256_hex(b"") == empty
    assert sha256_prefixed(b"") == f"sha256:{empty}"
