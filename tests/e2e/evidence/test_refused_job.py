# SPDX-License-Identifier: Apache-2.0
"""A check whose Job the API server refuses: told at once, made as soon as it may be, and ended if that never comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from evidence_lab import CHECKS, Evidence, recipe

QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-jobs", "namespace": CHECKS},
    "spec": {"hard": {"count/jobs.batch": "0"}},
}
SPEC = {"recipe": {"inline": recipe(checks={"deployment": ["node-agreement"]})}}
TOLD = "node-agreement: FailedCreate"


@pytest.fixture
def quota(evidence: Evidence) -> Iterator[Evidence]:
    """The product in a cluster whose quota allows no Job where checks run."""
    evidence.cluster.apply(QUOTA)
    evidence.cluster.wait_until("the quota counts", lambda: _used(evidence) != "", timeout=30)
    yield evidence
    _lift(evidence)


def _used(lab: Evidence) -> str:
    status = lab.cluster.get("resourcequota", "-n", CHECKS, "no-jobs").get("status") or {}
    return str((status.get("used") or {}).get("count/jobs.batch", ""))


def _lift(lab: Evidence) -> None:
    lab.cluster.kubectl("delete", "resourcequota", "-n", CHECKS, "no-jobs", "--ignore-not-found")


def _told(lab: Evidence, name: str) -> bool:
    summary = str(lab.get(name).get("status", {}).get("summary", ""))
    return TOLD in summary and "exceeded quota" in summary


def test_a_job_that_is_refused_for_a_while_is_made_afterwards(quota: Evidence):
    name = quota.start(SPEC, prefix="refused")
    quota.cluster.wait_until("the refusal is told", lambda: _told(quota, name), timeout=40)
    _lift(quota)
    status: dict[str, Any] = quota.finished(name, timeout=120)["status"]
    assert status["checks"]["attempts"] == 1
    assert TOLD not in status["summary"]


@pytest.mark.long
def test_a_job_that_is_refused_for_good_ends_its_check_and_not_the_run(quota: Evidence):
    name = quota.start(SPEC, prefix="refused")
    run = quota.finished(name, timeout=180)
    assert run["status"]["verdict"] == "Incomplete"
    assert "node-agreement: other(admission)" in run["status"]["summary"]
    assert run["status"]["checks"]["executed"] == 0
    record = json.loads(quota.bundle(run)["run.json"])
    (check,) = [one for one in record["checks"] if one["name"] == "node-agreement"]
    assert (check["status"], check["reason"]) == ("other", "admission")
    assert "exceeded quota" in check["message"]
