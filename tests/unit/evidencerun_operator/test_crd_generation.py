# SPDX-License-Identifier: Apache-2.0
"""The generated CRDs: no drift, structural, bounded, immutable field by field."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from evidencerun.validation.spec import RunSpec
from evidencerun_operator import crd
from evidencerun_operator.structural import NotStructuralError, structural_schema, unbounded

ROOT = Path(__file__).parents[3]
FORBIDDEN = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "uniqueItems", "prefixItems", "default"}


def schemas():
    return {
        d["metadata"]["name"]: d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for d in (crd.evidence_run(), crd.evidence_policy())
    }


def walk(schema, path=""):
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}.{key}")


def test_the_committed_files_are_what_the_models_say():
    rendered = crd.rendered()
    committed = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "crds").glob("*.yaml")}
    assert committed == rendered, "run: python -m evidencerun_operator.crd crds"


def test_main_writes_the_files(tmp_path):
    assert crd.main([str(tmp_path / "new")]) == 0
    assert {p.name for p in (tmp_path / "new").iterdir()} == set(crd.rendered())
    assert crd.main([]) == 2


@pytest.mark.parametrize("name", list(schemas()))
def test_every_node_is_structural_and_bounded(name):
    schema = schemas()[name]
    for path, node in walk(schema):
        assert isinstance(node.get("type"), str), path
        assert not FORBIDDEN & set(node), path
        assert not ("properties" in node and "additionalProperties" in node), path
    assert unbounded(schema) == [".apiVersion", ".kind"]


def test_each_spec_field_has_its_immutability_rule():
    spec = schemas()["evidenceruns.evidencerun.dev"]["properties"]["spec"]
    rules = {rule["fieldPath"]: rule for rule in spec["x-kubernetes-validations"]}
    fields = {info.alias for info in RunSpec.model_fields.values()}
    assert set(rules) == {f".{name}" for name in fields}
    for name in fields - {"recipe", "cancel"}:
        assert f"has(self.{name}) == has(oldSelf.{name})" in rules[f".{name}"]["rule"]
        assert f"spec.{name}" in rules[f".{name}"]["message"]


def test_the_inline_recipe_is_bounded():
    recipe = schemas()["evidenceruns.evidencerun.dev"]["properties"]["spec"]["properties"]["recipe"]
    (rule,) = (rule for rule in recipe["x-kubernetes-validations"] if rule.get("fieldPath") == ".inline")
    assert rule["rule"] == "!has(self.inline) || size(self.inline) <= 131072"
    assert "spec.recipe.configMap" in rule["message"]


class Exclusive(BaseModel):
    """Bounds that JSON Schema and OpenAPI 3.0 write differently."""

    low: Annotated[float, Field(gt=0, lt=1)]


class Choice(BaseModel):
    member: int | str


class Node(BaseModel):
    child: "Node | None" = None


class Loose(BaseModel):
    anything: dict = {}


def test_exclusive_bounds_become_openapi_flags():
    low = structural_schema(Exclusive)["properties"]["low"]
    assert low == {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1, "exclusiveMaximum": True}


@pytest.mark.parametrize("model", [Choice, Node, Loose])
def test_what_no_structural_schema_can_say_is_refused(model):
    with pytest.raises(NotStructuralError):
        structural_schema(model)


def test_unbounded_names_strings_lists_and_maps():
    class Open(BaseModel):
        text: str
        many: list[int]
        table: dict[str, int]

    assert unbounded(structural_schema(Open)) == [".text", ".many", ".table"]
