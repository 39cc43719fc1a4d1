# SPDX-License-Identifier: Apache-2.0
"""Reads JSON bytes strictly: what two readers could understand differently is refused, with its position."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Final, NoReturn

from evidencerun import limits
from evidencerun.errors import InputError

_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
"""Texts and brackets. A text that never ends is one match as well: else each of its quotes would begin a search of its
own to the end of the document, which takes hours for a megabyte of escaped quotes."""
_STRUCTURE_AND_COMMAS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]},]', re.DOTALL)
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[{\]}]")


def parse_json(
    data: bytes,
    *,
    what: str,
    max_bytes: int = limits.RECIPE_MAX,
    max_depth: int = limits.JSON_DEPTH_MAX,
    max_values: int = limits.JSON_VALUES_MAX,
) -> object:
    """Return the JSON document in `data` as dict, list, str, int, float, bool and None.

    Refused: duplicate keys, NaN and infinities (also as `1e999`), numbers of more than 400 digits, lone
    surrogates, anything but UTF-8, a byte order mark, more than `max_bytes` bytes, `max_depth` levels of nesting or
    `max_values` values (members and items; an empty list of two bytes takes 56 bytes of memory).

    Raises:
        InputError: with line and column where the document breaks a rule; `what` names it.

    """
    if len(data) > max_bytes:
        _refuse("E1101", f"{what} is too long", "", f"{len(data)} bytes found, at most {max_bytes} are read")
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        _refuse("E1102", f"{what} is not UTF-8", f"byte {fault.start}", fault.reason)
    _check_structure(data, what, max_depth, max_values)
    strict = _StrictDecoder(what)
    try:
        value = strict.decoder.decode(text)
    except json.JSONDecodeError as fault:
        _refuse("E1106", f"{what} is no valid JSON", f"line {fault.lineno}, column {fault.colno}", fault.msg)
    if "\\u" in text:
        _check_surrogates(value, what)
    return value


def _check_structure(data: bytes, what: str, max_depth: int, max_values: int) -> None:
    """Refuse deep nesting before the decoder recurses into it, and too many values before it makes them.

    Half a gigabyte of quotes or of closing brackets is no JSON, and is not searched to its end.
    """
    if len(data) <= limits.REPORT_MAX and _fits(_without_texts(data), max_depth, max_values):
        return  # seen in a tenth of the time; what does not fit is searched for the place
    depth, values, texts = 0, 1, 0
    # Commas in texts count here, which is fast and nearly always enough to see that there are not too many.
    marks = data.count(b",") + data.count(b"[") + data.count(b"{")
    for token in (_STRUCTURE_AND_COMMAS if marks >= max_values else _STRUCTURE).finditer(data):
        mark = token.group()
        if mark in (b"[", b"{"):
            depth += 1
            values += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        elif mark == b",":
            values += 1
        else:
            texts += 1
        if depth > max_depth:
            _refuse_at(token, "E1108", f"{what} is nested too deeply", f"at most {max_depth} levels are read")
        if values > max_values:
            _refuse_at(token, "E1107", f"{what} has too many values", f"at most {max_values} are read")
        if depth < 0:
            _refuse_at(token, "E1106", f"{what} is no valid JSON", "a bracket closes that none has opened")
        if texts > 2 * (marks + 1):
            _refuse_at(token, "E1106", f"{what} is no valid JSON", "texts follow each other without a comma")


def _without_texts(data: bytes) -> bytes:
    return _TEXT.sub(b"", data) if b"\\" in data else b"".join(data.split(b'"')[::2])


def _fits(skeleton: bytes, max_depth: int, max_values: int) -> bool:
    """Return whether a document keeps the limits, of which the texts are cut out."""
    depth = 0
    for bracket in _BRACKET.findall(skeleton):
        depth += 1 if bracket in b"[{" else -1
        if not 0 <= depth <= max_depth:
            return False
    return skeleton.count(b",") + skeleton.count(b"[") + skeleton.count(b"{") < max_values


def _refuse_at(token: re.Match[bytes], code: str, what: str, why: str) -> NoReturn:
    start, data = token.start(), token.string
    line = data.count(b"\n", 0, start) + 1
    column = start - data.rfind(b"\n", 0, start)
    _refuse(code, what, f"line {line}, column {column}", why)


class _StrictDecoder:
    """The standard decoder with hooks for what it would let through."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self._pairs,
            parse_constant=self._constant,
            parse_float=self._float,
            parse_int=self._int,
        )

    def _pairs(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = Counter(names).most_common(1)[0][0]
            _refuse(
                "E1109",
                f"{self._what} has the key {twice[:60]!a} twice",
                f"an object with the keys {_few(names)}",
            )
        return found

    def _constant(self, text: str) -> NoReturn:
        _refuse("E1114", f"{self._what} holds the number {text}", "", "JSON has no such number")

    def _float(self, text: str) -> float:
        value = float(text) if len(text) <= limits.NUMBER_DIGITS_MAX else math.inf
        if math.isinf(value):
            _refuse("E1114", f"{self._what} holds a number out of range", "", f"{text[:40]} is no finite double")
        return value

    def _int(self, text: str) -> int:
        if len(text) > limits.NUMBER_DIGITS_MAX:
            _refuse("E1114", f"{self._what} holds a number out of range", "", f"{len(text)} digits found")
        return int(text)


def _check_surrogates(value: object, what: str) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        match item:
            case str():
                if any("\ud800" <= char <= "\udfff" for char in item):
                    _refuse("E1115", f"{what} holds a lone surrogate", "", f"in the text {item[:40]!a}")
            case list():
                pending.extend(item)
            case dict():
                pending.extend(item.keys())
                pending.extend(item.values())


def _few(names: list[str]) -> str:
    return ", ".join(ascii(name[:30]) for name in names[:5]) + (", ..." if len(names) > 5 else "")


def _refuse(code: str, what: str, where: str, why: str = "") -> NoReturn:
    raise InputError(code, what, where=where, why=why)
