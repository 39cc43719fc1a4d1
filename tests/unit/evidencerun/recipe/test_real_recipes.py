# SPDX-License-Identifier: Apache-2.0
"""The published recipes, overlays and catalogs: read, named, digested, and every constraint of theirs parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evidencerun.canonical import Plain, canonical_yaml, parse_yaml
from evidencerun.constraint import Constraint, SnapshotPath, ValidatorInput, Value, evaluate
from evidencerun.recipe import Rule, lint, load_catalog, load_recipe

BUNDLE = "aicr/newer-2026-09/tests/chainsaw/cli/evidence-publish/testdata/summary-bundle"
NAMES = {
    "v0.9.12/examples/recipes/eks-gb200-ubuntu-training-with-validation.yaml": "gb200-eks-ubuntu-training",
    "v0.9.12/examples/recipes/eks-training.yaml": "eks-training",
    "v0.9.12/examples/recipes/kind.yaml": "kind-training",
    "v0.11.1/examples/recipes/aks-training.yaml": "h100-aks-ubuntu-training",
    "v0.11.1/examples/recipes/eks-gb200-ubuntu-training-with-validation.yaml": "gb200-eks-ubuntu-training",
    "v0.11.1/examples/recipes/eks-training.yaml": "eks-training",
    "v0.11.1/examples/recipes/kind.yaml": "kind-training",
    "newer-2026-09/examples/recipes/eks-gb200-ubuntu-training-with-validation.yaml": "gb200-eks-ubuntu-training",
}


@pytest.mark.data
def test_the_published_bundle_confirms_name_and_digest(test_data: Path) -> None:
    recipe = load_recipe((test_data / BUNDLE / "recipe.yaml").read_bytes())
    statement = json.loads((test_data / BUNDLE / "statement.intoto.json").read_bytes())

    stated = statement["predicate"]["recipe"]
    assert (recipe.name, hashlib.sha256(recipe.source).hexdigest()) == (stated["name"], stated["digest"])
    assert recipe.canonical == recipe.source
    # Its metadata is empty, so that leaving the version out changes nothing.
    assert recipe.digest == stated["digest"]


@pytest.mark.data
def test_every_published_recipe_is_read_and_named(test_data: Path) -> None:
    found = {}
    for path in sorted((test_data / "aicr").glob("*/examples/recipes/*.yaml")):
        recipe = load_recipe(path.read_bytes())
        assert canonical_yaml(recipe.canonical) == recipe.canonical
        assert load_recipe(recipe.canonical).digest == recipe.digest
        assert recipe.unknown_fields == ()
        found[str(path.relative_to(test_data / "aicr"))] = recipe.name

    assert found == NAMES


@pytest.mark.data
def test_lint_finds_the_inert_constraint_of_the_published_example(test_data: Path) -> None:
    path = test_data / "aicr/newer-2026-09/examples/recipes/eks-gb200-ubuntu-training-with-validation.yaml"

    (finding,) = lint(load_recipe(path.read_bytes()))

    assert finding.rule is Rule.INERT_CONSTRAINT
    assert "did you mean Deployment.gpu-operator.version?" in finding.suggestion


@pytest.mark.data
@pytest.mark.parametrize(("folder", "count"), [("v0.11.1", 16), ("newer-2026-09", 24)])
def test_both_published_catalogs_are_read(test_data: Path, folder: str, count: int) -> None:
    catalog = load_catalog((test_data / "aicr" / folder / "recipes/validators/catalog.yaml").read_bytes())

    assert len(catalog.validators) == count
    assert catalog.version == "1.0.0"


def constraints_of(document: Plain) -> Iterator[Constraint]:
    """Yield every constraint of an overlay, wherever it stands."""
    if isinstance(document, dict):
        listed = document.get("constraints")
        for item in listed if isinstance(listed, list) else []:
            assert isinstance(item, dict)
            yield Constraint(name=str(item["name"]), value=str(item["value"]))
        for value in document.values():
            yield from constraints_of(value)
    elif isinstance(document, list):
        for value in document:
            yield from constraints_of(value)


@pytest.mark.data
def test_every_constraint_of_the_overlays_parses_and_names_something(test_data: Path) -> None:
    folders = ("overlays", "mixins")
    paths = [path for folder in folders for path in (test_data / "aicr").glob(f"*/recipes/{folder}/*.yaml")]
    found = [
        constraint for path in paths for constraint in constraints_of(parse_yaml(path.read_bytes(), what=path.name))
    ]

    assert len(paths) >= 40
    assert len(found) >= 60
    for constraint in found:
        assert isinstance(constraint.path, SnapshotPath | ValidatorInput)
        rule = constraint.rule()
        assert str(rule)
        evaluate(rule, Value("1.34.2-eks-b3126f4"))
