# SPDX-License-Identifier: Apache-2.0
"""What the images hold: for the probe, every module that its programs import and no more third-party packages."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import grimp
import pytest
from packaging.utils import canonicalize_name

PROGRAMS = ("evidencerun.probe", "evidencerun.sidecar")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("evidencerun", include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def imported(graph: grimp.ImportGraph) -> set[str]:
    """Every module that the probe and the sidecar reach, lazy imports included."""
    reached: set[str] = set()
    found = {module for module in graph.modules if module.startswith(PROGRAMS)}
    while found - reached:
        module = (found - reached).pop()
        reached.add(module)
        packages = {module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)}
        found |= packages | graph.find_modules_directly_imported_by(module)
    return reached


@pytest.fixture(scope="module")
def imagespec(repository: Path) -> Iterator[ModuleType]:
    """What the two images consist of, from deploy/images."""
    sys.path.insert(0, str(repository / "deploy/images"))
    yield importlib.import_module("imagespec")
    sys.path.pop(0)


@pytest.fixture(scope="module")
def spec(imagespec: ModuleType) -> set[str]:
    """What the probe image holds of `evidencerun`, as module names."""
    places = imagespec.PROBE.sources.values()
    return {place.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for place in places}


def test_probe_image_holds_every_imported_module(imported: set[str], spec: set[str]) -> None:
    ours = {".".join(module.split(".")[:2]) for module in imported if module.split(".")[0] == "evidencerun"}
    assert {"evidencerun.probe", "evidencerun.errors"} <= ours
    assert ours == spec


def test_probe_image_holds_the_packages_that_are_imported(imported: set[str], repository: Path) -> None:
    outside = {module.split(".")[0] for module in imported} - set(sys.stdlib_module_names) - {"evidencerun"}
    distributions = packages_distributions()
    wanted = {canonicalize_name(distributions[module][0]) for module in outside}
    text = (repository / "deploy/images/requirements-probe.in").read_text(encoding="utf-8")
    held = {line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")}
    assert wanted == held


DOCKERFILES = {"Dockerfile": "EVIDENCERUN", "Dockerfile.probe": "PROBE"}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfiles_hold_the_same_as_the_archives(repository: Path, imagespec: ModuleType, name: str) -> None:
    """They cannot be built here; what they copy, install and start is compared instead."""
    spec = getattr(imagespec, DOCKERFILES[name])
    text = (repository / "deploy/images" / name).read_text(encoding="utf-8")
    copied = {
        word.rstrip("/")
        for line in text.splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
        if word.startswith(("pkg/", "operator/"))
    }
    assert copied == set(spec.sources)
    assert f"COPY deploy/images/{spec.requirements} " in text
    assert f"ENTRYPOINT {json.dumps(spec.entrypoint)}" in text
    for variable, value in imagespec.ENVIRONMENT.items():
        assert f"{variable}={value}" in text
    assert f"USER {imagespec.UID}:{imagespec.UID}" in text
