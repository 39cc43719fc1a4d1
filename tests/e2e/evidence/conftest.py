# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run evidence: the product from this checkout, installed once; runs of each test's own.

With EVIDENCERUN_E2E_INSTALLED=true the product is taken as it is installed, for trying one test again and again.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from evidence_lab import REPOSITORY, RUNS, SYSTEM, Evidence
from trial_checks import build, policy


def _install() -> None:
    command = [sys.executable, REPOSITORY / "deploy/demo/demo.py", "install"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    if done.returncode:
        pytest.fail(f"install: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


@pytest.fixture(scope="session")
def installed(cluster: Any) -> Any:
    """The product from this checkout, installed in the cluster, and the demo's component beside it."""
    if os.environ.get("EVIDENCERUN_E2E_INSTALLED") != "true":
        _install()
    operator = cluster.get("deployment", "-n", SYSTEM, "evidence-operator")
    image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    manifest = (REPOSITORY / "deploy/examples/demo-web.yaml").read_text(encoding="utf-8")
    cluster.kubectl("apply", "-f", "-", stdin=manifest.replace("DEMO_WEB_IMAGE", image))
    cluster.kubectl("rollout", "status", "-n", "evidence-demo", "deployment/demo-web", "--timeout=120s", timeout=150)
    return cluster


@pytest.fixture
def evidence(installed: Any) -> Iterator[Evidence]:
    """The installed product; the test's runs are deleted afterwards."""
    lab = Evidence(cluster=installed)
    yield lab
    for name in lab.made:
        installed.kubectl("delete", "evr", "-n", RUNS, name, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="session")
def trial_image(installed: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tests' own check image, on every node, by digest."""
    archive = tmp_path_factory.mktemp("trial") / "trial-check.tar"
    ref = build(archive)
    installed.manage("load", archive)
    return ref


@pytest.fixture(scope="module")
def offer(installed: Any) -> Iterator[Callable[..., str]]:
    """Apply an EvidencePolicy of the test's own: offer(name, catalog, **spec) returns its name; deleted afterwards."""
    made: list[str] = []

    def apply(name: str, catalog: list[dict[str, Any]], **spec: Any) -> str:
        unique = f"{name}-{secrets.token_hex(3)}"
        installed.apply(policy(unique, catalog, **spec))
        made.append(unique)
        return unique

    yield apply
    for name in made:
        installed.kubectl("delete", "evp", name, "--ignore-not-found")
