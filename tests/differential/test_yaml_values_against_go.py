# SPDX-License-Identifier: Apache-2.0
"""Our reading of plain scalars against what Go yaml.v3 resolves them to."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from evidencerun.canonical import parse_yaml
from evidencerun.errors import InputError

SPELLINGS = """
~ null Null NULL nULL true True TRUE tRUE false False FALSE yes Yes YES no on off y n Y N .nan .NaN .NAN .inf
.Inf .INF -.inf +.inf +.Inf -.nan 0 -0 +0 00 07 08 09 010 0o17 0O17 -0o17 0x1F 0X1f -0x1F +0x1 0x 0b101 0B1
-0b1 0b2 0b 1_000 _1 1_ 1__0 0x_1 0_7 1.5 1. .5 -.5 +.5 1e3 1E3 1e+3 1e-3 1.e3 .5e3 e3 1e 1e400 -1e400 1e-400
1_0.5 1.5_0 ._5 .5_0 9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616
-9223372036854775808 -9223372036854775809 99999999999999999999 0xFFFFFFFFFFFFFFFF 0xFFFFFFFFFFFFFFFFF
2024-01-02 2024-01-02T03:04:05Z 12:30:45 1:20 = << - -- + ++1 +-1 0x1.8p3 0x1p4 1p4 infinity inf nan NaN
Infinity 1,000 1'000 1e3e3 1.2.3 v1 0o8 0o 00b1 -0b -0o7 +0b1 +0o7 0b_1 0o_7 007_1 -_1 1e1_0 0x1_F
""".split()  # noqa: SIM905 - a list literal of a hundred words cannot be read


def ours(text: str) -> tuple[str, str]:
    """Return the type and the text of our value, in the oracle's spelling."""
    value = parse_yaml(f"- {text}\n".encode(), what="the document")
    assert isinstance(value, list)
    item = value[0]
    match item:
        case None:
            return "null", ""
        case bool():
            return "bool", str(item).lower()
        case int():
            return "int", str(item)
        case float():
            return "float", str(item)
        case _:
            return "str", str(item)


def agrees(text: str, kind: str, theirs: str) -> bool:
    """Say whether the two readings agree; the differences allowed are those that the reader documents."""
    try:
        our_kind, our_text = ours(text)
    except InputError as refusal:
        number = float.fromhex(theirs) if kind == "float" and theirs not in ("nan", "+inf", "-inf") else math.nan
        overflows = kind == "str" and "e" in text.lower()
        if text == "<<":
            return refusal.code == "E1116"
        return refusal.code == "E1114" and (math.isnan(number) or abs(number) >= 2**63 or overflows)
    if kind == "float":
        return our_kind == "float" and float(our_text) == float.fromhex(theirs)
    if kind == "time":
        return our_kind == "str"
    return (our_kind, our_text) == (kind, theirs)


def random_spelling(dice: random.Random) -> str:
    first = dice.choice("+-.0123456789")
    return first + "".join(dice.choice("0123456789_.eE+-xXoObBaAfF:") for _ in range(dice.randrange(0, 8)))


@pytest.mark.go
def test_plain_scalars_have_the_same_values(yaml_oracle: Any) -> None:
    dice = random.Random("values")
    spellings = [*SPELLINGS, *(random_spelling(dice) for _ in range(5000))]
    spellings = [text for text in spellings if not text.endswith(":")]
    documents = [f"- {text}\n".encode() for text in spellings]
    differing = []
    for text, answer in zip(spellings, yaml_oracle.ask(documents, "value"), strict=True):
        if answer.status == "error":
            continue
        item = json.loads(answer.body)["seq"][0]
        if not isinstance(item, list):
            continue
        kind, theirs = item
        if not agrees(text, kind, theirs):
            differing.append((text, kind, theirs))
    assert differing == []
