# SPDX-License-Identifier: Apache-2.0
"""Reads a constraint's name: an address in the snapshot, a name that a check reads, or neither.

    path = type "." subtype [ "[" ( index | key "=" value ) "]" ] "." key

The key keeps its dots; in `SystemD.<unit>.<Property>` the unit keeps them. Type names are case-sensitive.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final

from evidencerun.constraint.path_catalog import GPU_NODE_LABEL, SUBTYPES, SYSTEMD, VALIDATOR_INPUTS, Subtype

_SELECTED: Final = re.compile(r"([^.\[\]]+)\[([^\[\]]+)\]\.(.+)", re.DOTALL)
_INDEX: Final = re.compile(r"[0-9]{1,9}")
_LONGEST_COMPARED: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ByIndex:
    """Select one item by its place in the list, from 0."""

    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ByField:
    """Select the item whose data or context has this key with this value."""

    key: str
    value: str


Selector = ByIndex | ByField


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPath:
    """An address in the snapshot. `filled` says whether any collector of ours writes there.

    `gpu_node_labels` marks the one virtual path, whose reading is the labels of all GPU nodes.
    """

    type: str
    subtype: str
    key: str
    selector: Selector | None = None
    filled: bool = True
    gpu_node_labels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorInput:
    """A name that checks read from their phase's constraints. `bare`: its value is no expression."""

    name: str
    phase: str
    checks: tuple[str, ...]
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownPath:
    """Neither of them: a typing error, most often. `suggestion` is "" if nothing is close."""

    name: str
    suggestion: str = ""


ConstraintPath = SnapshotPath | ValidatorInput | UnknownPath


def parse_path(name: str) -> ConstraintPath:
    """Return what the name of a constraint stands for; never raises."""
    if name in VALIDATOR_INPUTS:
        row = VALIDATOR_INPUTS[name]
        return ValidatorInput(name=name, phase=row.phase, checks=row.checks, bare=row.bare)
    if name == GPU_NODE_LABEL:
        return SnapshotPath(type="NodeTopology", subtype="gpu-nodes", key="label", gpu_node_labels=True)
    kind, _, rest = name.partition(".")
    if kind == SYSTEMD:
        unit, dot, prop = rest.rpartition(".")
        if unit and dot and prop:
            return SnapshotPath(type=kind, subtype=unit, key=prop, filled=False)
        return UnknownPath(name=name)
    return _in_catalog(kind, rest) or UnknownPath(name=name, suggestion=_suggestion(name))


def _in_catalog(kind: str, rest: str) -> SnapshotPath | None:
    selector: Selector | None = None
    if selected := _SELECTED.fullmatch(rest):
        subtype, chosen, key = selected.groups()
        selector = _selector(chosen)
        if selector is None:
            return None
    else:
        subtype, _, key = rest.partition(".")
    row = SUBTYPES.get(kind, {}).get(subtype)
    if row is None or not key or not (row.open or key in row.keys or selector):
        return None
    return SnapshotPath(type=kind, subtype=subtype, key=key, selector=selector, filled=row.filled)


def _selector(text: str) -> Selector | None:
    if _INDEX.fullmatch(text):
        return ByIndex(index=int(text))
    key, separator, value = text.partition("=")
    return ByField(key=key, value=value) if key and separator else None


def _suggestion(name: str) -> str:
    """Return the closest name of the catalogs, "" if nothing is close."""
    if len(name) > _LONGEST_COMPARED:
        return ""
    candidates = {candidate.lower(): candidate for candidate in _candidates(name)}
    lowered = name.lower()
    if lowered in candidates:
        return candidates[lowered]
    tails = [text for low, text in candidates.items() if low.endswith(f".{lowered}")]
    if tails:
        return min(tails)
    close = difflib.get_close_matches(lowered, candidates, n=1, cutoff=0.75)
    return candidates[close[0]] if close else ""


def _candidates(name: str) -> list[str]:
    found = [*VALIDATOR_INPUTS, GPU_NODE_LABEL]
    parts = name.split(".", 2)
    tail = parts[2] if len(parts) > 2 else ""
    for kind, subtypes in SUBTYPES.items():
        for subtype, row in subtypes.items():
            found += [f"{kind}.{subtype}.{key}" for key in _keys(row, tail)]
    return found


def _keys(row: Subtype, tail: str) -> tuple[str, ...]:
    return (*row.keys, tail) if row.open and tail else row.keys
