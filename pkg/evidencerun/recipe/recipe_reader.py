# SPDX-License-Identifier: Apache-2.0
"""Reads a recipe (kind RecipeResult) of any generation, strictly."""

from __future__ import annotations

import difflib
import re
from typing import Final, NoReturn

from evidencerun import limits
from evidencerun.canonical import (
    Mapping,
    Node,
    YamlLimits,
    canonical_tree,
    canonical_yaml,
    emit,
    parse_tree,
    plain_value,
    sha256_hex,
    without_producer_version,
)
from evidencerun.errors import InputError
from evidencerun.recipe.component_reader import read_components
from evidencerun.recipe.criteria_values import normalise
from evidencerun.recipe.field_reader import Fields, refuse
from evidencerun.recipe.model import Criteria, Profile, Recipe, UnknownField
from evidencerun.recipe.phase_reader import read_constraints, read_phases

KIND: Final = "RecipeResult"
API_VERSIONS: Final = ("aicr.run/v1", "aicr.run/v1alpha3", "aicr.run/v1alpha2", "aicr.nvidia.com/v1alpha1")
_FIELDS: Final = frozenset(
    (
        "kind",
        "apiVersion",
        "metadata",
        "criteria",
        "constraints",
        "componentRefs",
        "deploymentOrder",
        "validation",
        "configuration",
    )
)
_METADATA_FIELDS: Final = frozenset(
    (
        "version",
        "appliedOverlays",
        "excludedOverlays",
        "constraintWarnings",
        "selectedProfile",
        "gpuDriverState",
        "mariaDBOperatorState",
        "perconaOperatorState",
        "defaultStorageClassState",
    )
)
_CRITERIA_FIELDS: Final = frozenset(
    (
        "service",
        "accelerator",
        "os",
        "intent",
        "platform",
        "nodes",
    )
)
_PROFILE_FIELDS: Final = frozenset(
    (
        "name",
        "value",
        "advertiser",
        "ownedPaths",
    )
)
_WORD: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?)?")
_PROFILE_WORD: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_UNRESOLVED: Final = {
    "RecipeMetadata": "an overlay is not resolved",
    "RecipeMixin": "a mixin is a part of a recipe",
    "RecipeCriteria": "criteria are a question, not a recipe",
}


def load_recipe(text: bytes) -> Recipe:
    """Return the recipe in `text` (at most `limits.RECIPE_MAX` bytes of UTF-8 YAML).

    Refused: what is no RecipeResult of a known apiVersion; duplicate keys, aliases, anchors, tags, merge keys, several
    documents; NaN, infinities and integers beyond 64 bits; a misspelt field; a constraint that does not parse; a
    document whose canonical form is not stable. Fields that no generation knows are kept and listed in
    `Recipe.unknown_fields`.

    Raises:
        InputError: with line, column and cause.

    """
    bounds = YamlLimits(max_nodes=limits.RECIPE_NODES_MAX)
    tree = parse_tree(text, what="the recipe", bounds=bounds, references=False)
    # Numbers without a finite or exact value are refused wherever they stand: other readers get the document too.
    plain_value(tree, what="the recipe")
    unknown: list[tuple[str, Node]] = []
    top = Fields(tree, "", _FIELDS, unknown)
    _check_kind(top)
    metadata = Fields(
        top.member("metadata") or Mapping(pairs=(), flow=True, line=tree.line, column=tree.column),
        "metadata",
        _METADATA_FIELDS,
        unknown,
    )
    ordered = canonical_tree(tree)
    canonical = _stable(emit(ordered))
    phases = read_phases(top, unknown)
    gate = read_constraints(top, unknown)
    if "readiness" in phases:
        gate += phases["readiness"].constraints
    return Recipe(
        api_version=top.text("apiVersion"),
        source=text,
        canonical=canonical,
        digest=sha256_hex(emit(without_producer_version(ordered))),
        criteria=_criteria(top, unknown),
        constraints=gate,
        components=read_components(top, unknown),
        phases=phases,
        deployment_order=top.texts("deploymentOrder"),
        producer_version=metadata.text("version"),
        applied_overlays=metadata.texts("appliedOverlays"),
        profile=_profile(metadata, unknown),
        unknown_fields=tuple(UnknownField(path=path, where=str(node.mark)) for path, node in unknown),
    )


def _check_kind(top: Fields) -> None:
    kind = top.text("kind", required=True)
    if kind != KIND:
        node = top.member("kind") or top.node
        why = _UNRESOLVED.get(kind, f"{KIND} is expected")
        refuse("E1208", f"kind is {kind[:60]!a}", node, why=why, fix="resolve it with `aicr recipe` first")
    version = top.text("apiVersion", required=True)
    if version not in API_VERSIONS:
        node = top.member("apiVersion") or top.node
        close = difflib.get_close_matches(version[:64], API_VERSIONS, n=1, cutoff=0.5)
        why = f"known are {', '.join(API_VERSIONS)}"
        refuse("E1209", f"apiVersion is {version[:60]!a}", node, why=why, fix=f"use {(close or API_VERSIONS)[0]}")


def _stable(canonical: bytes) -> bytes:
    """Return the canonical form if it is its own canonical form, so that there is one digest and not two."""
    try:
        again = canonical_yaml(canonical)
    except InputError:
        again = b""
    if again != canonical:
        _refuse_unstable()
    return canonical


def _refuse_unstable() -> NoReturn:
    raise InputError(
        "E1210",
        "the recipe's canonical form is not stable",
        why="printing it again changes a block scalar: it begins with a blank or a line break, or is folded (>)",
        fix="write such texts in double quotes, or as literal (|) text that begins with a word",
    )


def _criteria(top: Fields, unknown: list[tuple[str, Node]]) -> Criteria:
    node = top.member("criteria")
    if node is None:
        return Criteria()
    fields = Fields(node, "criteria", _CRITERIA_FIELDS, unknown)
    words = {}
    for name in ("service", "accelerator", "os", "intent", "platform"):
        value = normalise(name, fields.text(name))
        if not _WORD.fullmatch(value):
            why = "a word of lower-case letters, digits, dots and hyphens is expected"
            refuse("E1211", f"{fields.at(name)} is {value[:60]!a}", fields.member(name) or node, why=why)
        words[name] = value
    return Criteria(**words, nodes=fields.count("nodes"))


def _profile(metadata: Fields, unknown: list[tuple[str, Node]]) -> Profile | None:
    node = metadata.member("selectedProfile")
    if node is None:
        return None
    fields = Fields(node, "metadata.selectedProfile", _PROFILE_FIELDS, unknown)
    name, value = fields.text("name", required=True), fields.text("value", required=True)
    if not (_PROFILE_WORD.fullmatch(name) and _PROFILE_WORD.fullmatch(value)):
        why = "name and value are words of letters, digits, dots, hyphens and underscores"
        refuse("E1211", f"{fields.path} is {name[:40]!a}={value[:40]!a}", node, why=why)
    return Profile(name=name, value=value, advertiser=fields.text("advertiser"))
