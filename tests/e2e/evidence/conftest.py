# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run evidence: the product from this checkout, installed once; runs of each test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from evidence_lab import REPOSITORY, RUNS, Evidence


@pytest.fixture(scope="session")
def installed(cluster: Any) -> Any:
    """The product from this checkout, installed in the cluster, and the demo's component beside it."""
    done = subprocess.run(
        [sys.executable, REPOSITORY / "deploy/demo/demo.py", "install"], capture_output=True, text=True, timeout=1500
    )
    if done.returncode:
        pytest.fail(f"install: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    refs = json.loads((REPOSITORY / "build/images/digests.json").read_text(encoding="ascii"))
    manifest = (REPOSITORY / "deploy/examples/demo-web.yaml").read_text(encoding="utf-8")
    cluster.kubectl("apply", "-f", "-", stdin=manifest.replace("DEMO_WEB_IMAGE", refs["evidencerun"]))
    cluster.kubectl("rollout", "status", "-n", "evidence-demo", "deployment/demo-web", "--timeout=120s", timeout=150)
    return cluster


@pytest.fixture
def evidence(installed: Any) -> Iterator[Evidence]:
    """The installed product; the test's runs are deleted afterwards."""
    lab = Evidence(cluster=installed)
    yield lab
    for name in lab.made:
        installed.kubectl("delete", "evr", "-n", RUNS, name, "--ignore-not-found", "--wait=false")
