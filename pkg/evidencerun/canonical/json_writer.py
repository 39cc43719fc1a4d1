# SPDX-License-Identifier: Apache-2.0
"""Writes JSON as `json.dumps(…, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)` does, and faster.

The standard encoder leaves its C code as soon as it indents.
"""

from __future__ import annotations

import math
from json.encoder import encode_basestring


def indented_json(value: object, margin: str = "") -> str:
    """Return the text of a value of dicts with text keys, lists, texts, numbers, booleans and None.

    `margin` stands before each line but the first. Raises `ValueError` for a number that JSON does not have,
    `TypeError` for any other value.
    """
    if type(value) is str:
        return encode_basestring(value)
    inner = margin + "  "
    if isinstance(value, dict):
        if not value:
            return "{}"
        rows = [
            # Nearly all members are texts: no call for those.
            f"{encode_basestring(key)}: {encode_basestring(member)}"
            if type(member := value[key]) is str
            else f"{encode_basestring(key)}: {indented_json(member, inner)}"
            for key in sorted(value)
        ]
        return f"{{\n{inner}{f',{chr(10)}{inner}'.join(rows)}\n{margin}}}"
    if isinstance(value, list):
        if not value:
            return "[]"
        rows = [indented_json(item, inner) for item in value]
        return f"[\n{inner}{f',{chr(10)}{inner}'.join(rows)}\n{margin}]"
    return _scalar(value)


def _scalar(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return encode_basestring(value)
        case int():
            return int.__repr__(value)
        case float() if math.isfinite(value):
            return float.__repr__(value)
        case float():
            raise ValueError(f"JSON has no number {value}")
        case _:
            raise TypeError(f"JSON has no {type(value).__name__}")
