# SPDX-License-Identifier: Apache-2.0
"""What was found for a constraint: a value, nothing (and why), or values that disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Value:
    """One value, spelled as it was read (booleans `true`/`false`, numbers in their shortest form)."""

    raw: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing was read; `reason` says why, in words for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Conflicting:
    """Nodes gave different values; all of them, each once."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuNodeLabels:
    """The labels of all GPU nodes, by node name, for `NodeTopology.gpu-nodes.label`.

    `complete` is false if the list of nodes was cut short: nothing can then be said about all of them.
    """

    labels: Mapping[str, Mapping[str, str]]
    complete: bool = True


Reading = Value | Absent | Conflicting | GpuNodeLabels
