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

from evidencerun.snapshot.document import Item, Scalar, Subtype

_CUT: Final = re.compile(r",? ?\(\+\d+ more\)$")


def label_subtype(labels: Mapping[str, Mapping[str, str]]) -> Subtype:
    """Return `NodeTopology.label` for the labels of each node, by node name."""
    carriers: dict[str, dict[str, list[str]]] = {}
    for node in sorted(labels):
        for key, value in labels[node].items():
            carriers.setdefault(key, {}).setdefault(value, []).append(node)
    data: dict[str, Scalar] = {}
    items: list[Item] = []
    for key in sorted(carriers):
        values = carriers[key]
        for value in sorted(values):
            nodes = ",".join(values[value])
            data[key if len(values) == 1 else f"{key}.{value}"] = f"{value}|{nodes}"
            items.append(node_item({"key": key, "value": value}, values[value]))
    return Subtype(name="label", data=data, items=tuple(items))


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
            [_from_item(item) for item in subtype.items]
            if subtype.items
            else [_from_legacy(key, str(value)) for key, value in subtype.data.items()]
        )
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
