# SPDX-License-Identifier: Apache-2.0
"""Values of plain YAML scalars, as Go yaml.v3 resolves them into an untyped variable.

Not YAML 1.1: `yes`, `on` and `y` are text. Not JSON: `0x1F`, `0o17`, `017` (octal), `0b1` and `1_000` are
integers. Timestamps stay text.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from evidencerun import limits
from evidencerun.canonical.yaml_nodes import Mapping, Mark, Node, Scalar, ScalarStyle, Sequence
from evidencerun.canonical.yaml_parser import YamlLimits, parse_tree
from evidencerun.errors import InputError

Plain = dict[str, "Plain"] | list["Plain"] | str | int | float | bool | None

_WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_INTEGER: Final = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]([0-7]+)|0([0-7]*)|([1-9][0-9]*))")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LOOSE_UNDERSCORE: Final = re.compile(r"(?<![0-9])_|_(?![0-9])")
"""Behind a leading point an underscore must stand between digits; elsewhere all are dropped."""


def parse_yaml(
    text: bytes,
    *,
    what: str,
    max_bytes: int = limits.RECIPE_MAX,
    max_depth: int = limits.YAML_DEPTH_MAX,
    max_nodes: int = limits.YAML_NODES_MAX,
    max_scalar: int = limits.YAML_SCALAR_MAX,
) -> Plain:
    """Return the one YAML document in `text` as dict, list, str, int, float, bool and None.

    Keys are always text, as Go reads them into string-keyed maps. Refused: duplicate keys, anchors, aliases,
    tags, merge keys, several documents, NaN and infinities, integers beyond 64 bits, and more than the limits allow.

    Raises:
        InputError: with line and column where the document breaks a rule; `what` names it.

    """
    bounds = YamlLimits(max_bytes=max_bytes, max_nodes=max_nodes, max_depth=max_depth, max_scalar=max_scalar)
    return plain_value(parse_tree(text, what=what, bounds=bounds, references=False), what=what)


def plain_value(node: Node, *, what: str) -> Plain:
    """Return the values of a tree that was read without references.

    Raises:
        InputError: a number has no exact or finite value, or a key is no scalar.

    """
    match node:
        case Scalar():
            return scalar_value(node, what=what)
        case Sequence():
            return [plain_value(item, what=what) for item in node.items]
        case Mapping():
            return {_key(key, what): plain_value(value, what=what) for key, value in node.pairs}
        case _:
            return _refuse("E1111", f"{what} uses the alias *{node.name}", node.mark, "aliases are not read here")


def scalar_value(node: Scalar, *, what: str) -> str | int | float | bool | None:
    """Return the value of one scalar; anything but plain style is text."""
    text = node.text
    if node.style is not ScalarStyle.PLAIN:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _NOT_FINITE.fullmatch(text):
        _refuse("E1114", f"{what} holds the number {text}", node.mark, "only finite numbers are read", "quote it")
    return _number(text, node.mark, what)


def _number(text: str, mark: Mark, what: str) -> str | int | float:
    if text[0] == "." and _LOOSE_UNDERSCORE.search(text):
        return text
    digits = text.replace("_", "")
    if found := _INTEGER.fullmatch(digits):
        value = _integer(found)
        if value is None or not -(2**63) <= value < 2**64:
            _refuse("E1114", f"{what} holds an integer out of range", mark, "64 bits at most are read", "quote it")
        return value
    if _FLOAT.fullmatch(digits):
        number = float(digits) if len(digits) <= limits.NUMBER_DIGITS_MAX else float("inf")
        # What no double can hold stays text in Go; a reader in another language would see an infinity.
        if abs(number) == float("inf"):
            _refuse(
                "E1114",
                f"{what} holds a number out of range",
                mark,
                "a finite double is expected",
                "quote it",
            )
        return number
    return text


def _integer(found: re.Match[str]) -> int | None:
    sign, *spellings = found.groups()
    for digits, base in zip(spellings, (16, 2, 8, 8, 10), strict=True):
        if digits is None:
            continue
        if len(digits) > limits.NUMBER_DIGITS_MAX:
            return None
        value = int(digits or "0", base)
        return -value if sign == "-" else value
    raise AssertionError("one spelling always matches")


def _key(node: Node, what: str) -> str:
    if not isinstance(node, Scalar):
        _refuse("E1116", f"{what} has a key that is no scalar", node.mark, "keys are text here")
    return node.text


def _refuse(code: str, what: str, mark: Mark, why: str, fix: str = "") -> NoReturn:
    raise InputError(code, what, where=str(mark), why=why, fix=fix)
