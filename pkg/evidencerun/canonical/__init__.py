# SPDX-License-Identifier: Apache-2.0
"""Bytes with one meaning: strict JSON and YAML readers, canonical forms, digests."""

from evidencerun.canonical.canonical_yaml import (
    RecipePredicate,
    canonical_recipe_digest,
    canonical_tree,
    canonical_yaml,
    without_producer_version,
)
from evidencerun.canonical.digests import canonical_json, sha256_hex, sha256_prefixed
from evidencerun.canonical.json_reader import parse_json
from evidencerun.canonical.json_writer import indented_json
from evidencerun.canonical.yaml_emitter import emit
from evidencerun.canonical.yaml_nodes import (
    Alias,
    Mapping,
    Mark,
    Node,
    Scalar,
    ScalarStyle,
    Sequence,
    key_text,
)
from evidencerun.canonical.yaml_parser import YamlLimits, parse_tree
from evidencerun.canonical.yaml_values import Plain, parse_yaml, plain_value, scalar_value

__all__ = [
    "Alias",
    "Mapping",
    "Mark",
    "Node",
    "Plain",
    "RecipePredicate",
    "Scalar",
    "ScalarStyle",
    "Sequence",
    "YamlLimits",
    "canonical_json",
    "canonical_recipe_digest",
    "canonical_tree",
    "canonical_yaml",
    "emit",
    "indented_json",
    "key_text",
    "parse_json",
    "parse_tree",
    "parse_yaml",
    "plain_value",
    "scalar_value",
    "sha256_hex",
    "sha256_prefixed",
    "without_producer_version",
]
