# SPDX-License-Identifier: Apache-2.0
"""What the YAML reader refuses, with which code and at which place; and what plain scalars mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun import limits
from evidencerun.canonical import YamlLimits, canonical_yaml, parse_yaml
from evidencerun.errors import InputError

REFUSED = {
    "two documents": (b"a: 1\n---\nb: 2\n", "E1105", "line 2, column 1"),
    "text behind the end": (b"[a]]\n", "E1106", "line 1, column 4"),
    "a duplicate key": (b"a: 1\nb:\n  c: 1\n  c: 2\n", "E1109", "line 4, column 3"),
    "the same text in quotes": (b'a: 1\n"a": 2\n', "E1109", "line 2, column 1"),
    "two keys without text": (b"[a]: 1\n[b]: 2\n", "E1109", "line 2, column 1"),
    "nothing": (b"# only a comment\n", "E1103", "line 1, column 1"),
    "an open bracket": (b"a: [1\n", "E1106", "line 2, column 1"),
    "a tab as indentation": (b"a:\n\tb: 1\n", "E1106", "line 2, column 1"),
    "a surrogate pair": (b'a: "\\ud83d\\ude00"\n', "E1106", "line 1, column 7"),
    "a control character": (b"a: \x01\n", "E1106", "character 3"),
    "a NUL": (b"a: \x00\n", "E1106", "character 3"),
    "bytes that are no UTF-8": (b"a: \xff\n", "E1102", "byte 3"),
    "an encoded surrogate": (b"a: \xed\xa0\x80\n", "E1102", "byte 3"),
    "UTF-16": ("a: b\n".encode("utf-16"), "E1102", "byte 0"),
    "YAML 1.2": (b"%YAML 1.2\n---\na: 1\n", "E1104", "line 1, column 1"),
    "an unknown alias": (b"a: *b\n", "E1112", "line 1, column 4"),
    "an escaped slash": (b'a: "\\/"\n', "E1117", "line 1, column 4"),
    "a question mark in brackets": (b"a: [b?c]\n", "E1117", "line 1, column 5"),
    "a comma behind a tag": (b"a: [!, b]\n", "E1117", "line 1, column 5"),
    "a byte order mark at a line's start": ("a: 1\n\ufeffb: 2\n".encode(), "E1117", "character 6"),
    "a question mark in a key of braces": (b"{? a}: b\n", "E1117", "line 1, column 1"),
}

STRICTER = {
    "an anchor": (b"a: &x 1\n", "E1111", "line 1, column 4"),
    "an alias": (b"a: 1\nb: *x\n", "E1111", "line 2, column 4"),
    "a tag": (b"a: !!str 1\n", "E1113", "line 1, column 4"),
    "a merge key": (b"<<: {a: 1}\n", "E1116", "line 1, column 1"),
    "a merge key as value": (b"a: [<<]\n", "E1116", "line 1, column 5"),
    "a collection as key": (b"[a]: 1\n", "E1116", "line 1, column 1"),
    "NaN": (b"a: .nan\n", "E1114", "line 1, column 4"),
    "an infinity": (b"a: -.inf\n", "E1114", "line 1, column 4"),
    "more than 64 bits": (b"a: 18446744073709551616\n", "E1114", "line 1, column 4"),
    "less than 64 bits": (b"a: -9223372036854775809\n", "E1114", "line 1, column 4"),
    "a huge integer": (b"a: " + b"9" * 5000 + b"\n", "E1114", "line 1, column 4"),
    "a float beyond doubles": (b"a: 1e400\n", "E1114", "line 1, column 4"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_every_reader(name: str) -> None:
    document, code, where = REFUSED[name]

    for read in (canonical_yaml, lambda text: parse_yaml(text, what="the document")):
        with pytest.raises(InputError) as caught:
            read(document)
        strict = read is not canonical_yaml and caught.value.code in ("E1111", "E1113")
        assert strict or (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize("name", STRICTER)
def test_refused_where_values_are_read(name: str) -> None:
    document, code, where = STRICTER[name]

    with pytest.raises(InputError) as caught:
        parse_yaml(document, what="the document")

    assert (caught.value.code, caught.value.where) == (code, where)


VALUES = {
    "~": None, "null": None, "": None, "true": True, "True": True, "TRUE": True, "false": False,
    "False": False, "FALSE": False, "Null": None, "NULL": None, "tRUE": "tRUE", "yes": "yes", "on": "on",
    "y": "y", "12": 12, "-0x1F": -31, "017": 15, "0o17": 15, "0b101": 5, "1_000": 1000, "08": 8.0,
    "1.50": 1.5, ".5": 0.5, "1e3": 1000.0, "18446744073709551615": 2**64 - 1,
    "-9223372036854775808": -(2**63), "2024-01-02": "2024-01-02", "1.2.3": "1.2.3", "'12'": "12",
    '"true"': "true", "v1": "v1", "0x": "0x", "24.10": 24.1, "._5": "._5",
}  # fmt: skip


@pytest.mark.parametrize("spelling", VALUES)
def test_value_of_a_scalar(spelling: str) -> None:
    found = parse_yaml(f"- {spelling}\n".encode(), what="the document")

    expected = VALUES[spelling]
    assert isinstance(found, list)
    assert found == [expected]
    assert type(found[0]) is type(expected)


@pytest.mark.parametrize("text", ["'<<': 1\n", '"<<": 1\n'])
def test_a_merge_key_in_quotes_is_a_key(text: str) -> None:
    assert parse_yaml(text.encode(), what="x") == {"<<": 1}


def test_the_length_of_a_text_counts_bytes() -> None:
    assert parse_yaml("é\n".encode(), what="x", max_scalar=2) == "é"
    with pytest.raises(InputError) as caught:
        parse_yaml("éé\n".encode(), what="x", max_scalar=3)
    assert caught.value.code == "E1110"


def test_a_question_mark_outside_of_brackets_is_text() -> None:
    assert parse_yaml(b"a?b\n", what="x") == "a?b"
    assert parse_yaml(b"a: b?c\n", what="x") == {"a": "b?c"}


def test_keys_within_keys_are_nested() -> None:
    document = b"? [[a]]\n: b\n"
    assert canonical_yaml(document, bounds=YamlLimits(max_depth=3)) == document
    with pytest.raises(InputError) as caught:
        canonical_yaml(document, bounds=YamlLimits(max_depth=2))
    assert caught.value.code == "E1108"


def test_a_number_of_many_digits_is_read_up_to_a_limit() -> None:
    longest = "0." + "1" * (limits.NUMBER_DIGITS_MAX - 2)
    assert parse_yaml(f"- {longest}\n".encode(), what="x") == [float(longest)]
    with pytest.raises(InputError) as caught:
        parse_yaml(f"- {longest}1\n".encode(), what="x")
    assert caught.value.code == "E1114"


def test_keys_are_texts() -> None:
    assert parse_yaml(b"1: a\ntrue: b\n~: c\n", what="the document") == {"1": "a", "true": "b", "~": "c"}


def test_limits_are_the_callers() -> None:
    document = b"a: [b, [c]]\n"

    assert parse_yaml(document, what="x", max_bytes=12, max_depth=3, max_nodes=6, max_scalar=1) == {"a": ["b", ["c"]]}
    refused = {
        "max_bytes": (11, "E1101"),
        "max_depth": (2, "E1108"),
        "max_nodes": (5, "E1107"),
        "max_scalar": (0, "E1110"),
    }
    for name, (limit, code) in refused.items():
        with pytest.raises(InputError) as caught:
            parse_yaml(document, what="x", **{name: limit})
        assert caught.value.code == code


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_a_value_or_a_refusal(document: bytes) -> None:
    for read in (canonical_yaml, lambda text: parse_yaml(text, what="the document")):
        code = "E11"
        try:
            read(document)
        except InputError as refusal:
            code = refusal.code
        assert code.startswith("E11")
