# SPDX-License-Identifier: Apache-2.0
"""Reads AICR's validator catalog (kind ValidatorCatalog), both generations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from evidencerun import limits
from evidencerun.canonical import Mapping, Node, YamlLimits, parse_tree
from evidencerun.recipe.field_reader import Fields, refuse

API_VERSIONS: Final = ("validator.nvidia.com/v1alpha1", "aicr.nvidia.com/v1")
_FIELDS: Final = frozenset(("apiVersion", "kind", "metadata", "validators"))
_METADATA_FIELDS: Final = frozenset(("name", "version"))
_ENTRY_FIELDS: Final = frozenset(
    (
        "name",
        "phase",
        "description",
        "image",
        "timeout",
        "args",
        "env",
        "resources",
        "dependencyAffinity",
    )
)
_ENV_FIELDS: Final = frozenset(("name", "value"))
_PHASES: Final = frozenset(("deployment", "conformance", "performance"))
_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """One check. `timeout` is a Go duration as it was written, "" if none is given; `env` keeps its order."""

    name: str
    phase: str
    image: str
    description: str = ""
    timeout: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorCatalog:
    """A catalog; `validators` in the order of the document, names unique."""

    api_version: str
    name: str
    version: str
    validators: tuple[Validator, ...]


def load_catalog(text: bytes) -> ValidatorCatalog:
    """Return the catalog in `text`.

    Raises:
        InputError: no ValidatorCatalog of a known apiVersion, a misspelt or missing member, a name given twice; with
            line, column and cause.

    """
    bounds = YamlLimits(max_nodes=limits.RECIPE_NODES_MAX)
    tree = parse_tree(text, what="the catalog", bounds=bounds, references=False)
    unknown: list[tuple[str, Node]] = []
    top = Fields(tree, "", _FIELDS, unknown)
    kind, version = top.text("kind", required=True), top.text("apiVersion", required=True)
    if kind != "ValidatorCatalog" or version not in API_VERSIONS:
        why = f"ValidatorCatalog of {' or '.join(API_VERSIONS)} is expected"
        refuse("E1220", f"the document is {kind[:40]!a} of {version[:60]!a}", tree, why=why)
    found: dict[str, Validator] = {}
    for path, node in top.items("validators"):
        entry = _entry(Fields(node, path, _ENTRY_FIELDS, unknown), unknown)
        if entry.name in found:
            refuse("E1221", f"{path} names the check {entry.name} again", node, why="names are unique")
        found[entry.name] = entry
    metadata = Fields(
        top.member("metadata") or Mapping(pairs=(), flow=True, line=tree.line, column=tree.column),
        "metadata",
        _METADATA_FIELDS,
        unknown,
    )
    return ValidatorCatalog(
        api_version=version,
        name=metadata.text("name"),
        version=metadata.text("version"),
        validators=tuple(found.values()),
    )


def _entry(fields: Fields, unknown: list[tuple[str, Node]]) -> Validator:
    name, phase = fields.text("name", required=True), fields.text("phase", required=True)
    if not _NAME.fullmatch(name):
        refuse("E1221", f"{fields.at('name')} is {name[:60]!a}", fields.node, why="a DNS label is expected")
    if phase not in _PHASES:
        why = "deployment, conformance or performance is expected"
        refuse("E1221", f"{fields.at('phase')} is {phase[:60]!a}", fields.node, why=why)
    pairs = [Fields(node, path, _ENV_FIELDS, unknown) for path, node in fields.items("env")]
    return Validator(
        name=name,
        phase=phase,
        image=fields.text("image", required=True),
        description=fields.text("description"),
        timeout=fields.text("timeout"),
        args=fields.texts("args"),
        env=tuple((pair.text("name", required=True), pair.text("value")) for pair in pairs),
    )
