# SPDX-License-Identifier: Apache-2.0
"""The chart, rendered by the real helm."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

DIGEST = "sha256:" + "a" * 64
PROBE_DIGEST = "sha256:" + "b" * 64
Documents = list[dict[str, Any]]
Render = Callable[..., Documents]


def load_script(path: Path) -> ModuleType:
    """Import a program of deploy/, which is no package."""
    name = f"deploy_script_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def rights(repository: Path) -> ModuleType:
    return load_script(repository / "deploy/chart/rights.py")


@pytest.fixture(scope="session")
def values_schema(repository: Path) -> ModuleType:
    return load_script(repository / "deploy/chart/values_schema.py")


@pytest.fixture(scope="session")
def kustomize_render(repository: Path) -> ModuleType:
    return load_script(repository / "deploy/kustomize/render.py")


@pytest.fixture(scope="session")
def helm(repository: Path) -> Path:
    """The program that the local cluster uses as well; built first if it is not in the cache."""
    tools = repository / "deploy/local/tools"
    return Path(subprocess.run([tools, "path", "helm"], capture_output=True, text=True, check=True).stdout.strip())


@pytest.fixture(scope="session")
def helm_template(repository: Path, helm: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `helm template` with `values` (JSON) and no defaults of ours."""

    def run(**values: Any) -> subprocess.CompletedProcess[str]:
        chart = str(repository / "charts/evidencerun")
        command = [str(helm), "template", "evidencerun", chart, "-n", "evidencerun-system"]
        text = json.dumps(values)
        return subprocess.run([*command, "-f", "-"], input=text, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def render(helm_template: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """Documents of the chart with image digests filled in; keyword arguments are values."""

    def run(**values: Any) -> Documents:
        images = {"evidencerun": {"digest": DIGEST}, "probe": {"digest": PROBE_DIGEST}}
        done = helm_template(images=images, **values)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return run


@pytest.fixture(scope="session")
def documents(render: Render) -> Documents:
    """The chart with its default values."""
    return render()
