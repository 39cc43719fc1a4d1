# SPDX-License-Identifier: Apache-2.0
"""The three outcomes of evaluating a constraint. Unknown is not violated, and never satisfied."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UnknownKind(StrEnum):
    """Why nothing can be said."""

    ABSENT = "absent"
    """There is no reading."""
    CONFLICT = "conflict"
    """The constraint holds for some of the values and not for others."""
    UNCOMPARABLE = "uncomparable"
    """An ordered operator met something that is no version."""
    UNSUITED = "unsuited"
    """The reading is not of the kind that the constraint speaks about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Satisfied:
    """The constraint holds for every value read."""

    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Violated:
    """The constraint does not hold: the expression, and what was found instead."""

    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Nothing can be said; `reason` is a sentence for people."""

    kind: UnknownKind
    reason: str


Outcome = Satisfied | Violated | Unknown
