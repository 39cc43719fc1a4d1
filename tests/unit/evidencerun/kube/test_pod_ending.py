# SPDX-License-Identifier: Apache-2.0
"""Endings of containers out of pod statuses as kubelets write them."""

from __future__ import annotations

from typing import Any

import pytest

from evidencerun.kube.pod_ending import container_ending, container_start, never_started, sidecar_ended, started


def _pod(
    phase: str, state: dict[str, Any] | None = None, *, sidecar: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {"phase": phase, **status}
    if state is not None:
        made["containerStatuses"] = [{"name": "validator", "state": state, "image": "i", "imageID": "i@sha256:1"}]
    if sidecar is not None:
        made["initContainerStatuses"] = [{"name": "sidecar", "state": sidecar}]
    return {"status": made}


def _terminated(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


@pytest.mark.parametrize(
    ("pod", "code", "reason"),
    [
        (_pod("Succeeded", _terminated(0, "Completed")), 0, "Completed"),
        (_pod("Failed", _terminated(1)), 1, "Error"),
        (_pod("Failed", _terminated(137, "OOMKilled")), 137, "OOMKilled"),
        (_pod("Failed", _terminated(137, "OOMKilled"), reason="Evicted"), 137, "OOMKilled"),
        (_pod("Failed", _terminated(143), reason="DeadlineExceeded"), 143, "DeadlineExceeded"),
        (_pod("Failed", _terminated(137, "ContainerStatusUnknown"), reason="Evicted"), 137, "Evicted"),
        (_pod("Failed", reason="Evicted", message="the node was low on memory"), None, "Evicted"),
        (_pod("Failed", reason="UnexpectedAdmissionError"), None, "UnexpectedAdmissionError"),
        (_pod("Failed", {"waiting": {"reason": "PodInitializing"}}), None, "NeverStarted"),
        (_pod("Running", _terminated(0, "Completed")), 0, "Completed"),
    ],
)
def test_an_ending_is_read(pod: dict[str, Any], code: int | None, reason: str) -> None:
    ending = container_ending(pod)
    assert ending is not None
    assert (ending.exit_code, ending.reason) == (code, reason)


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "pod",
    [
        _pod("Failed", _terminated(1, LONG, message=LONG)),
        _pod("Failed", _terminated(1), reason=LONG),
        _pod("Failed", reason=LONG, message=LONG),
        _pod("Failed", {"waiting": {"reason": LONG, "message": LONG}}),
        _pod("Failed", sidecar={"waiting": {"reason": LONG}}),
        _pod("Failed", conditions=[{"type": "PodScheduled", "status": "False", "reason": LONG}]),
    ],
)
def test_whatever_a_kubelet_writes_there_is_an_ending(pod: dict[str, Any]) -> None:
    for entry in pod["status"].get("containerStatuses", []):
        entry["image"], entry["imageID"] = LONG, LONG + "@sha256:" + "0" * 64
    ending = container_ending(pod)
    assert ending is not None
    assert ending.reason.startswith(("x", "Error"))
    assert (ending.image, ending.image_id) == ("", "")
    assert len(never_started(pod)[0]) <= 4096


@pytest.mark.parametrize(
    ("state", "moment"),
    [
        ({"running": {"startedAt": "2026-11-24T00:00:01Z"}}, "2026-11-24T00:00:01Z"),
        (_terminated(1, startedAt="2026-11-24T00:00:01Z"), "2026-11-24T00:00:01Z"),
        (_terminated(128, "StartError", startedAt="1970-01-01T00:00:00Z"), ""),
        (_terminated(137, "ContainerStatusUnknown"), ""),
        ({"waiting": {"reason": "ImagePullBackOff"}}, ""),
        ({"running": {}}, ""),
        (None, ""),
    ],
)
def test_a_start_is_seen_with_its_image(state: dict[str, Any] | None, moment: str) -> None:
    seen = container_start(_pod("Running", state))
    assert (seen.started_at if seen else "") == moment
    assert seen is None or (seen.image, seen.image_id, seen.exit_code) == ("i", "i@sha256:1", None)


@pytest.mark.parametrize(
    "pod",
    [
        {},
        _pod("Pending"),
        _pod("Pending", {"waiting": {"reason": "ImagePullBackOff"}}),
        _pod("Running", {"running": {}}),
        _pod("Unknown", {"running": {}}),
    ],
)
def test_what_lives_has_no_ending(pod: dict[str, Any]) -> None:
    assert container_ending(pod) is None


@pytest.mark.parametrize(
    ("finished", "conditions", "expected"),
    [
        ("2026-11-24T00:00:09Z", [], "Completed"),
        ("2026-11-24T00:00:10Z", [], "PodDeleted"),
        ("2026-11-24T00:00:12Z", [], "PodDeleted"),
        ("", [], "PodDeleted"),
        (
            "2026-11-24T00:00:12Z",
            [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}],
            "DeletionByTaintManager",
        ),
    ],
)
def test_a_check_that_ends_because_its_pod_is_deleted_says_so(
    finished: str, conditions: list[dict[str, Any]], expected: str
) -> None:
    pod = _pod("Running", _terminated(0, "Completed", finishedAt=finished), conditions=conditions)
    pod["metadata"] = {"deletionTimestamp": "2026-11-24T00:00:40Z", "deletionGracePeriodSeconds": 30}
    ending = container_ending(pod)
    assert ending is not None
    assert (ending.exit_code, ending.reason) == (0, expected)


def test_words_and_times_are_kept_within_bounds() -> None:
    state = _terminated(2, message="m" * 5000, signal=9, startedAt="a", finishedAt="b")
    ending = container_ending(_pod("Failed", state))
    assert ending is not None
    assert (len(ending.message), ending.signal, ending.started_at, ending.finished_at) == (4096, 9, "a", "b")
    assert ending.image_id == "i@sha256:1"


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (_pod("Pending", {"waiting": {"reason": "ErrImagePull", "message": "m"}}), ("ErrImagePull", "m")),
        (
            _pod("Pending", {"waiting": {}}, sidecar={"waiting": {"reason": "ImagePullBackOff", "message": "s"}}),
            ("ImagePullBackOff", "sidecar: s"),
        ),
        (
            _pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]),
            ("Unschedulable", ""),
        ),
        (_pod("Pending", {"waiting": {"reason": "ContainerCreating"}}), ("", "")),
        (_pod("Running", {"running": {}}, sidecar={"running": {}}), ("", "")),
    ],
)
def test_what_keeps_a_container_from_starting(pod: dict[str, Any], expected: tuple[str, str]) -> None:
    assert never_started(pod) == expected


def test_the_upload_is_over_when_the_sidecar_is() -> None:
    over = _terminated(0, "Completed")
    assert sidecar_ended(_pod("Succeeded", over, sidecar=over)) is True
    assert sidecar_ended(_pod("Running", over, sidecar={"running": {}})) is False
    assert sidecar_ended(_pod("Failed", over, sidecar={"running": {}})) is False
    assert sidecar_ended(_pod("Failed", over)) is True
    assert sidecar_ended(_pod("Running", over)) is False


def test_a_container_with_a_log_has_started() -> None:
    assert started(_pod("Running", {"running": {}})) is True
    assert started(_pod("Running", _terminated(1))) is True
    assert started(_pod("Pending", {"waiting": {"reason": "x"}})) is False
    assert started({}) is False
