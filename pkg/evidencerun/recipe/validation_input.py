# SPDX-License-Identifier: Apache-2.0
"""Writes AICR's ValidationInput: the parts of a recipe that its validators read."""

from __future__ import annotations

from typing import Final

from evidencerun import limits
from evidencerun.canonical import (
    Mapping,
    Scalar,
    ScalarStyle,
    YamlLimits,
    canonical_tree,
    emit,
    key_text,
    parse_tree,
)
from evidencerun.recipe.model import Recipe

_MEMBERS: Final = ("apiVersion", "componentRefs", "constraints", "criteria", "gpuAllocationPolicy", "validation")


def validation_input(recipe: Recipe) -> bytes:
    """Return the document `validation.yaml` for a recipe: criteria, constraints, components and validation.

    The parts are copied as the recipe spells them (quotes and numbers included): a round trip through values would
    turn an unquoted `24.10` into `24.1`.
    """
    bounds = YamlLimits(max_nodes=limits.RECIPE_NODES_MAX)
    tree = parse_tree(recipe.source, what="the recipe", bounds=bounds, references=False)
    assert isinstance(tree, Mapping)
    pairs = [pair for pair in tree.pairs if key_text(pair[0]) in _MEMBERS]
    pairs.append((_text("kind"), _text("ValidationInput")))
    return emit(canonical_tree(Mapping(pairs=tuple(pairs), flow=False, line=1, column=1)))


def _text(text: str) -> Scalar:
    return Scalar(text=text, style=ScalarStyle.PLAIN, line=1, column=1)
