# SPDX-License-Identifier: Apache-2.0
"""Writes plain values as block YAML with one possible form, the same on every machine and Python version.

Text is written bare only if no YAML reader, 1.1 or 1.2, could take it for anything else; all other text is double
quoted. Maps with a wanted order are written in the order in which they come.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

_BARE: Final = re.compile(r"[A-Za-z/_][A-Za-z0-9_./@%+-]*")
_WORDS: Final = frozenset(
    {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"},
)
_INDENT: Final = 4
_SHORT_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_PRINTABLE: Final = re.compile(r"[ -~]+")

Value = str | int | float | bool | Mapping[str, "Value"] | Sequence["Value"]
"""What can be written; there is no null: what is absent is left out."""


def write_yaml(document: Mapping[str, Value]) -> bytes:
    """Return `document` as UTF-8 YAML with a final newline."""
    if not document:
        return b"{}\n"
    return "".join(line + "\n" for line in _mapping(document, "")).encode()


def _mapping(value: Mapping[str, Value], margin: str) -> Iterator[str]:
    for key, member in value.items():
        yield from _entry(f"{margin}{_text(key)}:", member, margin + " " * _INDENT)


def _entry(head: str, value: Value, margin: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        if not value:
            yield f"{head} {{}}"
            return
        yield head
        yield from _mapping(value, margin)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            yield f"{head} []"
            return
        yield head
        yield from _sequence(value, margin)
    else:
        yield f"{head} {_scalar(value)}"


def _sequence(value: Sequence[Value], margin: str) -> Iterator[str]:
    for member in value:
        if isinstance(member, Mapping) and member:
            lines = _mapping(member, margin + "  ")
            yield f"{margin}- {next(lines)[len(margin) + 2 :]}"
            yield from lines
        elif isinstance(member, Sequence) and not isinstance(member, str) and member:
            lines = _sequence(member, margin + "  ")
            yield f"{margin}- {next(lines)[len(margin) + 2 :]}"
            yield from lines
        else:
            yield from _entry(f"{margin}-", member, margin)


def _scalar(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    return _text(value)


def _float(value: float) -> str:
    text = repr(value)
    mantissa, exponent, power = text.partition("e")
    # YAML 1.1 readers take a number with an exponent for text unless it has a point and a sign.
    if not exponent:
        return text
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{power if power[0] in '+-' else '+' + power}"


def _text(value: str) -> str:
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if _PRINTABLE.fullmatch(value) and '"' not in value and "\\" not in value:
        return f'"{value}"'
    return '"' + "".join(_escaped(char) for char in value) + '"'


def _escaped(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    code = ord(char)
    if 0x20 <= code < 0x7F:
        return char
    # Everything else is escaped: which characters count as printable differs between Unicode versions.
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
