# SPDX-License-Identifier: Apache-2.0
"""Where two recipes differ, for people: paths with both values, or the word that only the spelling differs."""

from __future__ import annotations

from typing import Final

from evidencerun.canonical import parse_yaml

_AT_MOST: Final = 10


def recipe_differences(signed: bytes, given: bytes) -> list[str]:
    """Return one line per difference, at most ten and a count of the rest."""
    found: list[str] = []
    _walk(parse_yaml(signed, what="the bundle's recipe"), parse_yaml(given, what="the given recipe"), "", found)
    if not found:
        return ["only spelling differs (quotes, flow style): the same values, but another digest"]
    more = [f"and {len(found) - _AT_MOST} more"] if len(found) > _AT_MOST else []
    return found[:_AT_MOST] + more


def _walk(signed: object, given: object, place: str, found: list[str]) -> None:
    if isinstance(signed, dict) and isinstance(given, dict):
        for key in sorted(signed.keys() | given.keys()):
            where = f"{place}.{key}".lstrip(".")
            if key not in signed:
                found.append(f"{where}: not in the bundle, {_text(given[key])} given")
            elif key not in given:
                found.append(f"{where}: {_text(signed[key])} in the bundle, not given")
            else:
                _walk(signed[key], given[key], where, found)
    elif isinstance(signed, list) and isinstance(given, list) and len(signed) == len(given):
        for number, (one, other) in enumerate(zip(signed, given, strict=True)):
            _walk(one, other, f"{place}[{number}]", found)
    elif signed != given:
        found.append(f"{place}: {_text(signed)} in the bundle, {_text(given)} given")


def _text(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
