# SPDX-License-Identifier: Apache-2.0
"""The kustomize manifests are the chart's, and the example overlay replaces every image."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def overlay(repository: Path) -> list[dict[str, Any]]:
    """What `kubectl kustomize` makes of the example overlay."""
    tools = [str(repository / "deploy/local/tools"), "path", "kubectl"]
    kubectl = subprocess.run(tools, capture_output=True, text=True, check=True).stdout.strip()
    folder = str(repository / "deploy/kustomize/example-overlay")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_manifests_are_rendered_from_the_chart(kustomize_render: ModuleType, repository: Path) -> None:
    committed = (repository / "deploy/kustomize/base/evidencerun.yaml").read_text(encoding="utf-8")
    assert committed == kustomize_render.rendered(), "fix: make generate"


def test_overlay_replaces_every_image(overlay: list[dict[str, Any]], kustomize_render: ModuleType) -> None:
    text = yaml.safe_dump_all(overlay)
    assert kustomize_render.UNKNOWN not in text
    assert "ghcr.io" not in text
    assert text.count("registry.example.com/evidencerun@sha256:" + "1" * 64) == 6
    assert text.count("registry.example.com/evidencerun-probe@sha256:" + "2" * 64) == 1


def test_nothing_of_helm_is_left(overlay: list[dict[str, Any]]) -> None:
    assert "helm" not in yaml.safe_dump_all(overlay).lower()


def test_the_namespace_of_the_standing_parts_is_there(overlay: list[dict[str, Any]]) -> None:
    namespaces = {d["metadata"]["name"] for d in overlay if d["kind"] == "Namespace"}
    assert namespaces == {"evidencerun-system", "evidencerun-probes", "evidencerun-checks", "evidence"}
