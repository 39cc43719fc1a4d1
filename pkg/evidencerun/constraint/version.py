# SPDX-License-Identifier: Apache-2.0
"""Versions as constraints compare them (rules: AICR's comparison semantics, newest generation).

One leading `v` is dropped; what follows the numbers from the first `-` or `+` on is not compared, except for the
build number of GKE (`-gke.N`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from evidencerun.errors import shortened

_VERSION: Final = re.compile(r"v?([0-9]{1,18})(?:\.([0-9]{1,18}))?(?:\.([0-9]{1,18}))?([-+].*)?", re.DOTALL)
_GKE_MARK: Final = "-gke."
_GKE_BUILD: Final = re.compile(r"-gke\.([0-9]{1,18})", re.DOTALL)
_FULL_PRECISION: Final = 3


@dataclass(frozen=True, slots=True)
class Undecided:
    """Two texts that cannot be compared as versions; `reason` is a sentence for people."""

    reason: str


class NoBuild(StrEnum):
    """Why a version has no build number to compare."""

    ABSENT = "absent"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One to three numbers, GKE's build number, and the part that is not compared."""

    numbers: tuple[int, ...]
    build: int | NoBuild
    ignored: str

    @property
    def padded(self) -> tuple[int, ...]:
        """All three numbers, missing ones as 0."""
        return (*self.numbers, 0, 0)[:_FULL_PRECISION]


def parse_version(text: str) -> Version | Undecided:
    """Return the version that `text` spells, or why it is none."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return Undecided(f"{shortened(text)!a} is no version of one to three numbers")
    extras = found.group(4) or ""
    build: int | NoBuild = NoBuild.ABSENT
    if extras.startswith(_GKE_MARK):
        number = _GKE_BUILD.fullmatch(extras)
        build = int(number.group(1)) if number else NoBuild.MALFORMED
    numbers = tuple(int(part) for part in found.group(1, 2, 3) if part is not None)
    return Version(numbers=numbers, build=build, ignored="" if isinstance(build, int) else extras)


def compare(actual: Version, wanted: Version) -> int | Undecided:
    """Return -1, 0 or 1, comparing as many numbers as the less precise side has, then GKE's builds.

    A build number that only the wanted side has puts the actual side below it, one that only the actual side has puts
    it above. A malformed build number that would decide leaves it undecided.
    """
    precision = min(len(actual.numbers), len(wanted.numbers))
    left, right = actual.numbers[:precision], wanted.numbers[:precision]
    if left != right:
        return _sign(left > right)
    if precision < _FULL_PRECISION:
        return 0
    return _compare_builds(actual.build, wanted.build)


def _compare_builds(actual: int | NoBuild, wanted: int | NoBuild) -> int | Undecided:
    if NoBuild.MALFORMED in (actual, wanted):
        return Undecided("a GKE build number is malformed")
    if isinstance(actual, int) and isinstance(wanted, int):
        return 0 if actual == wanted else _sign(actual > wanted)
    if actual == wanted:
        return 0
    return _sign(isinstance(actual, int))


def equal(actual: Version, wanted: Version) -> bool:
    """Say whether all three numbers agree and, where the wanted side names a GKE build, the build as well."""
    if actual.padded != wanted.padded:
        return False
    return wanted.build is NoBuild.ABSENT or actual.build == wanted.build


def _sign(above: bool) -> int:
    return 1 if above else -1
