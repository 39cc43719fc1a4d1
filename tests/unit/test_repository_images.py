# SPDX-License-Identifier: Apache-2.0
"""The probe image holds every module that its programs import, and no more third-party packages than they need."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from packaging.utils import canonicalize_name

from evidencerun import canonical

PROGRAMS = ("evidencerun.probe", "evidencerun.sidecar")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("evidencerun", include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def imported(graph: grimp.ImportGraph) -> set[str]:
    """Every module that the probe and the sidecar reach, lazy imports included."""
    ours = {module for module in graph.modules if module.startswith(PROGRAMS)}
    reached = set(ours)
    for module in ours:
        reached |= graph.find_upstream_modules(module)
    parents = {".".join(module.split(".")[:depth]) for module in reached for depth in range(1, module.count(".") + 1)}
    return reached | parents


@pytest.fixture(scope="module")
def spec(repository: Path) -> set[str]:
    """What imagespec.py says the probe image holds of `evidencerun`, as module names."""
    sys.path.insert(0, str(repository / "deploy/images"))
    try:
        probe = importlib.import_module("imagespec").PROBE
    finally:
        sys.path.pop(0)
    places = probe.sources.values()
    return {place.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for place in places}


def test_probe_image_holds_every_imported_module(imported: set[str], spec: set[str]) -> None:
    ours = {".".join(module.split(".")[:2]) for module in imported if module.split(".")[0] == "evidencerun"}
    assert canonical.__name__ in ours
    assert ours == spec


def test_probe_image_holds_the_packages_that_are_imported(imported: set[str], repository: Path) -> None:
    outside = {module.split(".")[0] for module in imported} - set(sys.stdlib_module_names) - {"evidencerun"}
    distributions = packages_distributions()
    wanted = {canonicalize_name(distributions[module][0]) for module in outside}
    text = (repository / "deploy/images/requirements-probe.in").read_text(encoding="utf-8")
    held = {line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")}
    assert wanted == held
