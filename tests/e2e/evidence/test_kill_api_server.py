# SPDX-License-Identifier: Apache-2.0
"""The API server answers nothing for a while, with all connections standing: the run goes on and ends Passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbances import program, stopped
from evidence_lab import CHECKS, Evidence, recipe
from trial_checks import entry

AWAY_SECONDS = 20
"""Longer than the check runs that is under way, so that its end falls into the silence."""


@pytest.mark.long
@pytest.mark.parametrize("phase", ["Probing", "Checking"])
def test_the_api_server_stands_still(
    evidence: Evidence, trial_image: str, offer: Callable[..., str], tmp_path: Path, phase: str
):
    cluster = evidence.cluster
    if cluster.flavour != "local":
        pytest.skip("only the local cluster's API server is a process of this machine")
    spec = {
        "recipe": {"inline": recipe(checks={"deployment": ["slow"]})},
        "policy": offer("away", [entry("slow", trial_image)]),
        "deadline": "10m",
    }
    name = evidence.start(spec, prefix="away")
    uid = evidence.get(name)["metadata"]["uid"]
    evidence.until_phase(name, phase, timeout=90)
    with stopped(program(cluster, "kube-apiserver")):
        time.sleep(AWAY_SECONDS)  # the outage itself, not a way to wait for something
    run = evidence.finished(name, timeout=240)
    assert run["status"]["verdict"] == "Passed", run["status"]
    created = evidence.created(uid)
    assert [key for key in created if key.startswith(f"jobs/{CHECKS}/")] == [f"jobs/{CHECKS}/ev-{uid[:8]}-slow-1"]
    assert all(len(uids) == 1 for uids in created.values()), created
    assert evidence.leftovers(uid) == []
    (tmp_path / "bundle.tar.gz").write_bytes(evidence.archive(run))
    (tmp_path / "signing.pub").write_bytes(evidence.public_key())
    done = evidence.verify(tmp_path / "bundle.tar.gz", tmp_path / "signing.pub")
    assert done.returncode == 0, done.stdout + done.stderr
