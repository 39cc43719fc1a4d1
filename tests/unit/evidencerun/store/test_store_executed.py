# SPDX-License-Identifier: Apache-2.0
"""Executed is what really started: an attempt that was lost before its container began counts for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from store_samples import IMAGE

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive
from evidencerun.bundle.record import RunRecord, load_record
from evidencerun.store import attempts as attempts_module
from evidencerun.verify.duties import verify_unsigned

UID = "0a1b2c3d-0000-4000-8000-000000000001"
CHECK = "node-agreement"
LOST = {"reason": "NodeLost", "message": "node-1 is gone"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "_GIVEN_UP_SECONDS", 0.1)
    monkeypatch.setattr(attempts_module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(limits, "LOG_WAIT_SECONDS", 0.1)


def _waiting(reason: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "no such image"}}
    return {"phase": "Pending", "containerStatuses": [{"name": "validator", "state": state}]}


def _start_error() -> dict[str, Any]:
    times = {"startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-11-24T00:00:05Z"}
    state = {"terminated": {"exitCode": 128, "reason": "StartError", "message": "exec: no such file", **times}}
    entry = {"name": "validator", "state": state, "image": IMAGE, "imageID": IMAGE}
    return {"phase": "Failed", "containerStatuses": [entry]}


async def _lost(rig: Any, status: dict[str, Any] | None, ending: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the view of an attempt whose pod came to `status`, or that never had a pod, and was then given up."""
    await rig.create()
    await rig.send_report(1)
    await rig.attempt("created")
    more: dict[str, Any] = {"ending": ending} if ending else {}
    if status is not None:
        pod = rig.api.add_pod(CHECK, 1)
        pod["status"] = status
        reference = {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        await rig.attempt("running", pod=reference)
    found: dict[str, Any] = await rig.attempt("ended", **more)
    return found


async def _sealed(rig: Any, reason: str = "deadline") -> tuple[dict[str, Any], RunRecord]:
    token = rig.api.operator_token()
    view = await rig.ok("POST", f"/v1/runs/{UID}/seal", token=token, json_body={"reason": reason})
    files = read_archive((rig.service.runs.get(UID).folder.bundle / "layer").read_bytes())
    verify_unsigned(files)
    return view, load_record(files[layout.RUN])


@pytest.mark.parametrize(
    ("status", "ending", "reason"),
    [
        (_waiting("ImagePullBackOff"), None, "image-pull"),
        ({"phase": "Pending"}, {"reason": "Unschedulable", "message": "0/1 nodes are available"}, "unschedulable"),
        ({"phase": "Pending"}, LOST, "node-lost"),
        (None, {"reason": "FailedCreate", "message": "exceeded quota"}, "admission"),
        (_start_error(), None, "start-error"),
    ],
)
async def test_an_attempt_lost_before_its_container_began_is_not_executed(
    rig: Any, status: dict[str, Any] | None, ending: dict[str, Any] | None, reason: str
) -> None:
    attempt = await _lost(rig, status, ending)
    assert (attempt["status"], attempt["reason"], attempt["started"]) == ("other", reason, False)
    view, record = await _sealed(rig)
    assert (view["counts"]["executed"], view["counts"]["attempts"]) == (0, 1)
    assert record.counts.executed == 0
    found = record.checks[1].attempts[0]
    assert (found.started_at, found.duration, found.image_id, found.image_digest) == ("", 0, "", "")
    assert [image for image in record.images if image.role == "check"] == []


async def test_a_check_that_ran_and_was_lost_with_its_node_is_executed_and_its_image_ran(rig: Any) -> None:
    running = {"running": {"startedAt": "2026-11-24T00:00:00Z"}}
    entry = {"name": "validator", "state": running, "image": IMAGE, "imageID": IMAGE}
    attempt = await _lost(rig, {"phase": "Running", "containerStatuses": [entry]}, LOST)
    assert (attempt["status"], attempt["reason"], attempt["started"]) == ("other", "node-lost", True)
    view, record = await _sealed(rig)
    assert view["counts"]["executed"] == record.counts.executed == 1
    assert record.checks[1].attempts[0].started_at == "2026-11-24T00:00:00Z"
    assert [image.image_id for image in record.images if image.role == "check"] == [IMAGE]


async def test_a_check_that_ran_is_executed(rig: Any, kubelet: Any) -> None:
    await rig.create()
    await rig.attempt("created")
    pod = rig.api.add_pod(CHECK, 1)
    kubelet.run(pod)
    view = await rig.attempt("running", pod={"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]})
    assert view["started"] is False  # nobody has judged it yet
    kubelet.end(pod, 1)
    assert (await rig.attempt("ended"))["started"] is True
