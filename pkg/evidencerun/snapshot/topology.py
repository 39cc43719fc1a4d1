# SPDX-License-Identifier: Apache-2.0
"""Node labels in both of AICR's encodings: the legacy one in `data` and the lossless one in `items`.

Legacy: the label's key maps to `<value>|<node>,<node>`; a label with several values has one key `<label>.<value>` for
each. That is ambiguous (values and keys may hold dots and bars), so readers prefer the items: context `key` and
`value`, data `node-list`, `node-count` and `truncated`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from evidencerun import limits
from evidencerun.snapshot.document import CUT_NOTE, Item, Scalar, Subtype

_FIRST: Final = (
    "topology.kubernetes.io/",
    "node.kubernetes.io/",
    "cloud.google.com/gke-accelerator",
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
)
_CUT: Final = re.compile(r",? ?\(\+\d+ more\)$")


class Labels:
    """Takes the labels of node after node, and keeps for each value the names of its nodes."""

    def __init__(self) -> None:
        self._carriers: dict[str, dict[str, list[str]]] = {}

    @property
    def keys(self) -> int:
        """How many different labels there are."""
        return len(self._carriers)

    def add(self, node: str, labels: Mapping[str, str]) -> None:
        """Take the labels of one node."""
        for key, value in labels.items():
            self._carriers.setdefault(key, {}).setdefault(value, []).append(node)

    def subtype(self) -> Subtype:
        """Return `NodeTopology.label`.

        On large clusters lists of names are cut and rare values left out, in AICR's notation for it (`truncated`, `(+N
        more)`); numbers of nodes stay exact. What places a node in the cluster comes first.
        """
        written = _Labels()
        for key in sorted(self._carriers, key=lambda key: _precedence(key, self._carriers[key])):
            written.add(key, {value: sorted(nodes) for value, nodes in self._carriers[key].items()})
        return written.subtype()


def _precedence(key: str, values: Mapping[str, list[str]]) -> tuple[bool, int, str]:
    return not key.startswith(_FIRST), -sum(len(nodes) for nodes in values.values()), key


class _Labels:
    """Takes labels one after the other as long as there is room."""

    def __init__(self) -> None:
        self._data: dict[str, Scalar] = {}
        self._items: dict[str, list[Item]] = {}
        self._count = 0
        self._bytes = 0
        self._cut = 0

    def add(self, key: str, values: Mapping[str, list[str]]) -> None:
        if len(self._items) >= limits.LABEL_KEYS_MAX or self._count >= limits.LABEL_ITEMS_MAX:
            self._cut += 1
            return
        ranked = sorted(values, key=lambda value: (-len(values[value]), value))
        shown, rest = sorted(ranked[: limits.LABEL_VALUES_MAX]), ranked[limits.LABEL_VALUES_MAX :]
        records = []
        for value in shown:
            nodes = values[value]
            self._bytes += sum(len(node) + 1 for node in nodes)
            at_most = None if self._bytes <= limits.LABEL_NAMES_BYTES_MAX else limits.CONFLICT_NODES_MAX
            item = node_item({"key": key, "value": value}, nodes, at_most=at_most)
            records.append(item)
            more = len(nodes) - at_most if at_most is not None and len(nodes) > at_most else 0
            names = f"{item.data['node-list']} (+{more} more)" if more else item.data["node-list"]
            self._data[key if len(values) == 1 else f"{key}.{value}"] = f"{value}|{names}"
        if rest:
            others = sorted(node for value in rest for node in values[value])
            context = {"key": key, "note": CUT_NOTE, "value": f"{len(rest)} more values"}
            records.append(node_item(context, others, at_most=limits.CONFLICT_NODES_MAX))
        self._items[key] = records
        self._count += len(records)

    def subtype(self) -> Subtype:
        items = [item for key in sorted(self._items) for item in self._items[key]]
        if self._cut:
            context = {"key": "", "note": CUT_NOTE, "value": f"{self._cut} more labels"}
            items.append(Item(context=context, data={"label-count": self._cut}))
        return Subtype(name="label", data=self._data, items=tuple(items))


def node_item(context: Mapping[str, str], nodes: list[str], *, at_most: int | None = None) -> Item:
    """Return the record that these nodes carry what `context` says; at most so many names are listed."""
    listed = nodes if at_most is None else nodes[:at_most]
    data: dict[str, Scalar] = {
        "node-count": len(nodes),
        "node-list": ",".join(listed),
        "truncated": len(listed) < len(nodes),
    }
    return Item(context=dict(context), data=data)


def labels_by_node(subtypes: Iterable[Subtype]) -> tuple[dict[str, dict[str, str]], bool]:
    """Return the labels of each node and whether the lists of nodes are complete.

    Items are taken before the legacy encoding, which is read only if there are none. An item whose count, list and
    flag disagree makes the answer incomplete.
    """
    labels: dict[str, dict[str, str]] = {}
    complete = True
    for subtype in subtypes:
        entries = (
            [_from_item(item) for item in subtype.items if item.context.get("note") != CUT_NOTE]
            if subtype.items
            else [_from_legacy(key, str(value)) for key, value in subtype.data.items()]
        )
        complete = complete and not any(item.context.get("note") == CUT_NOTE for item in subtype.items)
        for key, value, nodes, whole in entries:
            complete = complete and whole
            for node in nodes:
                labels.setdefault(node, {})[key] = value
    return labels, complete


def _from_item(item: Item) -> tuple[str, str, list[str], bool]:
    nodes = [node for node in str(item.data.get("node-list", "")).split(",") if node]
    whole = item.data.get("truncated") is not True and item.data.get("node-count") == len(nodes)
    return item.context.get("key", ""), item.context.get("value", ""), nodes, whole


def _from_legacy(key: str, text: str) -> tuple[str, str, list[str], bool]:
    value, _, names = text.rpartition("|")
    kept = _CUT.sub("", names)
    nodes = [node.strip() for node in kept.split(",") if node.strip()]
    # A label with several values has its value appended to its key.
    if value and key.endswith(f".{value}"):
        key = key[: -len(value) - 1]
    return key, value, nodes, kept == names
