# SPDX-License-Identifier: Apache-2.0
"""The control plane of the integration tests does what they lean on: tokens, reviews, controllers."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.control_plane import ControlPlane

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "never-runs"},
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "nowhere.invalid/none:1"}]}
        }
    },
}


def test_issued_token_is_accepted_for_its_audience(api_server: ControlPlane) -> None:
    token = api_server.kubectl("create", "token", "default", "--audience", "somewhere").stdout.strip()
    spec = {"token": token, "audiences": ["somewhere"]}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    answer = api_server.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review)).stdout
    status = json.loads(answer)["status"]
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:default:default"


def test_job_controller_creates_the_pod(api_server: ControlPlane) -> None:
    api_server.kubectl("create", "-f", "-", stdin=json.dumps(JOB))
    deadline = time.monotonic() + 30
    pods: list[str] = []
    while not pods and time.monotonic() < deadline:
        pods = api_server.kubectl("get", "pods", "-l", "job-name=never-runs", "-o", "name").stdout.split()
    assert len(pods) == 1
    api_server.kubectl("delete", "job", "never-runs", "--cascade=foreground", "--timeout=30s")
