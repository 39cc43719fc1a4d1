# SPDX-License-Identifier: Apache-2.0
"""The quick writer gives the standard encoder's bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.canonical import indented_json, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_it_writes_what_the_standard_encoder_writes(value):
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)
    assert indented_json(value) == text
    assert indented_json([value], "    ") == json.dumps([value], ensure_ascii=False, indent=2, sort_keys=True).replace(
        "\n", "\n    "
    )


@pytest.mark.parametrize(
    ("value", "fault"), [(float("nan"), ValueError), (float("inf"), ValueError), ((1,), TypeError), (b"x", TypeError)]
)
def test_what_json_does_not_have_is_refused(value, fault):
    with pytest.raises(fault):
        indented_json({"a": [value]})


@given(VALUES)
def test_what_is_written_can_be_read(value):
    try:
        text = indented_json(value).encode()
    except UnicodeEncodeError:  # a lone surrogate, which no UTF-8 has
        return
    assert parse_json(text, what="it") == value
