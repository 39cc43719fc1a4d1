# SPDX-License-Identifier: Apache-2.0
"""The canonical form of YAML and the recipe digests over it, as AICR defines them.

The form is "what Go yaml.v3 prints for the parsed tree, comments dropped and keys sorted"; `yaml_emitter` prints it.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from evidencerun.canonical.digests import sha256_hex
from evidencerun.canonical.yaml_emitter import emit
from evidencerun.canonical.yaml_nodes import Mapping, Node, Sequence, key_text
from evidencerun.canonical.yaml_parser import YamlLimits, parse_tree


class RecipePredicate(StrEnum):
    """Version of the recipe-evidence predicate; it decides what the recipe digest is over."""

    V1 = "v1"
    V2 = "v2"
    V3 = "v3"


def canonical_yaml(text: bytes, *, what: str = "the document", bounds: YamlLimits | None = None) -> bytes:
    """Return the canonical form of the one YAML document in `text`.

    Comments are dropped, keys sorted by the bytes of their text, and the tree is printed as Go yaml.v3 prints
    it: scalar styles, flow collections, anchors and tags stay. The result is UTF-8 with LF line ends.

    Raises:
        InputError: no YAML, too large, several documents or duplicate keys; with line and column.

    """
    return emit(canonical_tree(_tree(text, what, bounds)))


def canonical_recipe_digest(
    text: bytes, predicate: RecipePredicate, *, what: str = "the recipe", bounds: YamlLimits | None = None
) -> str:
    """Return the recipe digest as 64 bare hexadecimal digits.

    v1 and v2: SHA-256 of the bytes as shipped. v3: SHA-256 of the canonical form without top-level
    `metadata.version`, and without `metadata` where nothing else is in it.

    Raises:
        InputError: as `canonical_yaml` (v3 only).

    """
    if predicate is not RecipePredicate.V3:
        return sha256_hex(text)
    return sha256_hex(emit(without_producer_version(canonical_tree(_tree(text, what, bounds)))))


def without_producer_version(root: Node) -> Node:
    """Return the tree without top-level `metadata.version`, and without an emptied `metadata`."""
    if not isinstance(root, Mapping):
        return root
    pairs: list[tuple[Node, Node]] = []
    for key, value in root.pairs:
        if key_text(key) == "metadata" and isinstance(value, Mapping):
            kept = tuple(pair for pair in value.pairs if key_text(pair[0]) != "version")
            if kept or not value.pairs:
                pairs.append((key, replace(value, pairs=kept)))
            continue
        pairs.append((key, value))
    return replace(root, pairs=tuple(pairs))


def _tree(text: bytes, what: str, bounds: YamlLimits | None) -> Node:
    return parse_tree(text, what=what, bounds=bounds or YamlLimits(), references=True)


def canonical_tree(node: Node) -> Node:
    """Return the tree with the pairs of every mapping in the canonical order."""
    match node:
        case Sequence():
            return replace(node, items=tuple(canonical_tree(item) for item in node.items))
        case Mapping():
            pairs = [(canonical_tree(key), canonical_tree(value)) for key, value in node.pairs]
            # Code point order equals the order of the UTF-8 bytes.
            pairs.sort(key=lambda pair: key_text(pair[0]))
            return replace(node, pairs=tuple(pairs))
        case _:
            return node
