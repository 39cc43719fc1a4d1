# SPDX-License-Identifier: Apache-2.0
"""Reads `componentRefs`: what a recipe deploys."""

from __future__ import annotations

from typing import Final

from evidencerun import limits
from evidencerun.canonical import Mapping, Node, Scalar, key_text, scalar_value
from evidencerun.recipe.field_reader import Fields, refuse
from evidencerun.recipe.model import Component, ExpectedResource

_FIELDS: Final = frozenset(
    (
        "name",
        "type",
        "source",
        "namespace",
        "chart",
        "version",
        "tag",
        "path",
        "valuesFile",
        "overrides",
        "patches",
        "dependencyRefs",
        "manifestFiles",
        "preManifestFiles",
        "cleanup",
        "expectedResources",
        "healthCheckAsserts",
        "healthCheckSkip",
    )
)
_RESOURCE_FIELDS: Final = frozenset(("kind", "name", "namespace"))
_TYPES: Final = {"helm": "Helm", "kustomize": "Kustomize"}


def read_components(top: Fields, unknown: list[tuple[str, Node]]) -> tuple[Component, ...]:
    """Return the components of a recipe.

    Raises:
        InputError: a member has the wrong shape, a name is missing or given twice, or a type is unknown.

    """
    found: dict[str, Component] = {}
    for path, node in top.items("componentRefs"):
        fields = Fields(node, path, _FIELDS, unknown)
        component = _component(fields, unknown)
        if len(found) >= limits.RECIPE_COMPONENTS_MAX:
            why = f"at most {limits.RECIPE_COMPONENTS_MAX} are read"
            refuse("E1204", f"{path} is one component too many", node, why=why)
        if component.name in found:
            refuse("E1204", f"{path} names the component {component.name!a} again", node, why="names are unique")
        found[component.name] = component
    return tuple(found.values())


def _component(fields: Fields, unknown: list[tuple[str, Node]]) -> Component:
    kind = _type(fields)
    if kind == "Helm" and (fields.member("tag") or fields.member("path")):
        why = "tag and path belong to Kustomize components"
        refuse("E1205", f"{fields.path} is a Helm component with tag or path", fields.node, why=why)
    if fields.member("patches") is not None:
        why = "no deployer applies them, so the recipe would not describe what runs"
        refuse("E1205", f"{fields.at('patches')} is set", fields.node, why=why, fix="use overrides")
    return Component(
        name=fields.text("name", required=True),
        type=kind,
        namespace=fields.text("namespace"),
        version=_unpadded(fields, "version"),
        source=_unpadded(fields, "source"),
        chart=_unpadded(fields, "chart"),
        tag=fields.text("tag"),
        path=fields.text("path"),
        enabled=_enabled(fields),
        dependencies=fields.texts("dependencyRefs"),
        manifest_files=(*fields.texts("preManifestFiles"), *fields.texts("manifestFiles")),
        expected_resources=_expected_resources(fields, unknown),
        health_check_asserts=fields.text("healthCheckAsserts"),
    )


def _type(fields: Fields) -> str:
    text = fields.text("type")
    if text and text.lower() not in _TYPES:
        node = fields.member("type") or fields.node
        refuse("E1205", f"{fields.at('type')} is {text[:40]!a}", node, why="Helm or Kustomize is expected")
    return _TYPES.get(text.lower(), "")


def _unpadded(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if text != text.strip():
        node = fields.member(name) or fields.node
        refuse("E1205", f"{fields.at(name)} has blanks around it", node, why=f"{text[:60]!a} was found")
    return text


def _enabled(fields: Fields) -> bool:
    """Say whether the component is deployed: only a boolean false in overrides disables it, as in AICR."""
    overrides = fields.member("overrides")
    if overrides is None:
        return True
    if not isinstance(overrides, Mapping):
        refuse("E1201", f"{fields.at('overrides')} is no mapping", overrides, why="a mapping is expected")
    return not any(
        key_text(key) in ("enabled", "install")
        and isinstance(value, Scalar)
        and scalar_value(value, what="the recipe") is False
        for key, value in overrides.pairs
    )


def _expected_resources(fields: Fields, unknown: list[tuple[str, Node]]) -> tuple[ExpectedResource, ...]:
    found = []
    for path, node in fields.items("expectedResources"):
        resource = Fields(node, path, _RESOURCE_FIELDS, unknown)
        found.append(
            ExpectedResource(
                kind=resource.text("kind", required=True),
                name=resource.text("name", required=True),
                namespace=resource.text("namespace"),
            )
        )
    return tuple(found)
