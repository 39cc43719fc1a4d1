# SPDX-License-Identifier: Apache-2.0
"""Merges the same readings of many nodes into one subtype.

A key on which all nodes agree stands in `data`. For every other key there is one item per value, the most frequent
first, and one for the nodes without it. What one node sends can make a merged subtype neither longer nor richer than
the limits: keys that most nodes have come first, and what is cut is stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evidencerun import limits
from evidencerun.snapshot.document import ABSENT_KIND, CONFLICT_NOTE, CUT_NOTE, OTHERS_KIND, Item, Scalar, Subtype
from evidencerun.snapshot.reading import spelled
from evidencerun.snapshot.topology import node_item

_Ranked = list[tuple[str, list[str]]]
"""Values as they are spelled, with the nodes that have them."""


class Readings:
    """Takes the readings of one subtype from node after node, and keeps for each value the names of its nodes alone."""

    def __init__(self) -> None:
        self._carriers: dict[str, dict[tuple[type, Scalar], list[str]]] = {}

    def add(self, node: str, data: Mapping[str, Scalar]) -> None:
        """Take what one node says."""
        for key, value in data.items():
            self._carriers.setdefault(key, {}).setdefault((type(value), value), []).append(node)

    def merged(self, name: str, everybody: Sequence[str]) -> Subtype:
        """Return the subtype `name`; of `everybody`, who was not added has none of its keys."""
        merged, carriers = _Merged(everybody), self._carriers
        for key in sorted(carriers, key=lambda key: (-_nodes(carriers[key]), len(carriers[key]), key)):
            merged.add(key, carriers[key])
        return merged.subtype(name)


def _nodes(values: Mapping[tuple[type, Scalar], list[str]]) -> int:
    return sum(len(nodes) for nodes in values.values())


class _Merged:
    """Takes keys, the most common first, as long as there is room."""

    def __init__(self, everybody: Sequence[str]) -> None:
        self._everybody = everybody
        self._agreed: dict[str, Scalar] = {}
        self._records: dict[str, list[Item]] = {}
        self._items = 0
        self._bytes = 0
        self._cut = 0

    def add(self, key: str, values: Mapping[tuple[type, Scalar], list[str]]) -> None:
        """Take one key with the nodes of each of its values.

        A node may send any number of keys, so all the nodes are only looked at for a key that is taken.
        """
        (_, first), nodes = next(iter(values.items()))
        agreed = len(values) == 1 and len(nodes) == len(self._everybody)
        shown, rest = ([], []) if agreed else self._ranked(values)
        texts = [str(first)] if agreed else [text for text, _ in shown] + ([_others(rest)] if rest else [])
        size = len(key.encode()) + sum(len(text.encode()) for text in texts)
        taken = len(self._agreed) + len(self._records)
        if taken >= limits.SUBTYPE_KEYS_MAX or self._bytes + size > limits.SUBTYPE_BYTES_MAX:
            self._cut += 1
            return
        self._bytes += size
        if agreed:
            self._agreed[key] = first
        else:
            self._records[key] = self._disagreement(key, shown, rest)
            self._items += len(self._records[key])

    def subtype(self, name: str) -> Subtype:
        """Return what was taken, in the order of the keys, and a record of what was not."""
        items = [item for key in sorted(self._records) for item in self._records[key]]
        if self._cut:
            context = {"key": "", "kind": CUT_NOTE, "note": CUT_NOTE, "value": f"{self._cut} more keys"}
            items.append(Item(context=context, data={"key-count": self._cut}))
        return Subtype(name=name, data=self._agreed, items=tuple(items))

    def _ranked(self, values: Mapping[tuple[type, Scalar], list[str]]) -> tuple[_Ranked, _Ranked]:
        """Return the values that are listed one by one, the most frequent first, and the others."""
        by_text: dict[str, list[str]] = {}
        for (_, value), nodes in values.items():
            by_text.setdefault(spelled(value), []).extend(nodes)
        ranked = sorted(by_text.items(), key=lambda pair: (-len(pair[1]), pair[0]))
        # Values that are as many as the nodes are noise; one record says so when the room for items is used up.
        room = limits.CONFLICT_VALUES_MAX if self._items < limits.CONFLICT_ITEMS_MAX else 0
        return ranked[:room], ranked[room:]

    def _disagreement(self, key: str, shown: _Ranked, rest: _Ranked) -> list[Item]:
        items = [_record(key, "value", text, nodes) for text, nodes in shown]
        if rest:
            items.append(_record(key, OTHERS_KIND, _others(rest), [node for _, nodes in rest for node in nodes]))
        carrying = {node for _, nodes in (*shown, *rest) for node in nodes}
        if len(carrying) < len(self._everybody):
            lacking = [node for node in self._everybody if node not in carrying]
            items.append(_record(key, ABSENT_KIND, "", lacking))
        return items


def _others(rest: _Ranked) -> str:
    return f"{len(rest)} more values"


def _record(key: str, kind: str, value: str, nodes: list[str]) -> Item:
    context = {"key": key, "kind": kind, "note": CONFLICT_NOTE, "value": value}
    return node_item(context, sorted(nodes), at_most=limits.CONFLICT_NODES_MAX)
