# SPDX-License-Identifier: Apache-2.0
"""Compares two JSON values strictly: 1 is not 1.0 is not true. And the one refusal for what does not fit together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from evidencerun.errors import EvidenceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where two values differ, and what stands there; `nothing` for a missing member."""

    place: str
    claimed: str
    derived: str


def first_difference(claimed: object, derived: object, place: str = "") -> Difference | None:
    """Return the first difference in the order of `claimed`; `None` if there is none."""
    if isinstance(claimed, dict) and isinstance(derived, dict):
        for key in [*claimed, *(key for key in derived if key not in claimed)]:
            where = f"{place}.{key}" if place else str(key)
            if key not in claimed or key not in derived:
                return Difference(place=where, claimed=_shown(claimed, key), derived=_shown(derived, key))
            if found := first_difference(claimed[key], derived[key], where):
                return found
        return None
    if isinstance(claimed, list) and isinstance(derived, list) and len(claimed) == len(derived):
        for number, (one, other) in enumerate(zip(claimed, derived, strict=True)):
            if found := first_difference(one, other, f"{place}[{number}]"):
                return found
        return None
    if type(claimed) is type(derived) and claimed == derived:
        return None
    return Difference(place=place, claimed=_text(claimed), derived=_text(derived))


def _shown(members: dict[str, object], key: str) -> str:
    return _text(members[key]) if key in members else "nothing"


def _text(value: object) -> str:
    return ascii(value)[:120]


def contradiction(where: str, why: str) -> NoReturn:
    """Raise E2080: the bundle claims what does not follow from it."""
    raise EvidenceError(
        "E2080",
        "the bundle claims what does not follow from it",
        where=where,
        why=why,
        fix="do not use this bundle; it was built wrongly or forged by whoever signed it",
    )
