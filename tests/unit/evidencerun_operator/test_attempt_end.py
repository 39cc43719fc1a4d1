# SPDX-License-Identifier: Apache-2.0
"""When an attempt is over although its container never said so: a truth table."""

import pytest
from operator_samples import active_world, at, attempt, entry, make_plan, pod_body, stamp, view

from evidencerun.validation.spec import CatalogEntry
from evidencerun.validation.storeapi import ContainerEnding
from evidencerun_operator.attempt_end import Ended, Going, ended_badly, follow
from evidencerun_operator.views import ChildView, NodeHealth, pod_view

CHECK = CatalogEntry.model_validate(entry("probe-me", timeout="5m"))
JOB = "ev-0a1b2c3d-probe-me-1"


def job(age=0.0):
    return ChildView(
        kind="Job",
        namespace="evidencerun-checks",
        name=JOB,
        uid="u1",
        created_at=stamp(-age),
        deleting=False,
        data={},
    )


def health(*, ready=True, since=0.0):
    return {"node1": NodeHealth(uid="n1", ready=ready, since=stamp(-since), message="Kubelet stopped posting")}


def waiting(reason, message=""):
    return {"containerStatuses": [{"name": "validator", "state": {"waiting": {"reason": reason, "message": message}}}]}


def running(age):
    state = {"running": {"startedAt": stamp(-age)}}
    return {"phase": "Running", "containerStatuses": [{"name": "validator", "state": state}]}


def terminated(age, *, sidecar=True, code=1, reason="Error"):
    state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": stamp(-60), "finishedAt": stamp(-age)}}
    side = {"terminated": {"exitCode": 0}} if sidecar else {"running": {}}
    return {
        "phase": "Running",
        "containerStatuses": [{"name": "validator", "state": state}],
        "initContainerStatuses": [{"name": "sidecar", "state": side}],
    }


def scheduled(age, status):
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(-age)}]
    return {"conditions": conditions, **status}


def pod(status=None, **meta):
    body = pod_body("p", JOB, **(status or {}))
    body["metadata"].update(meta)
    return pod_view(body)


def judge(*, state="running", age=0.0, child=None, seen=None, troubles=None, nodes=None):
    world = active_world(make_plan(), view(), troubles=troubles or {}, nodes=health() if nodes is None else nodes)
    entered = attempt("probe-me", state=state, created_at=stamp(-age))
    return follow(CHECK, entered, child, seen, world=world, now=at(0))


PULL = ("ErrImagePull", 'failed to resolve reference: "x": not found')
ENDS = {
    "exit-code": ({"child": job(), "seen": pod(terminated(1))}, "Error"),
    "sidecar-hangs": ({"child": job(), "seen": pod(terminated(46, sidecar=False))}, "Error"),
    "no-such-image": ({"child": job(), "seen": pod(scheduled(21, waiting(*PULL)))}, "ErrImagePull"),
    "registry-away": (
        {"child": job(), "seen": pod(scheduled(121, waiting("ImagePullBackOff", "i/o timeout")))},
        "ImagePullBackOff",
    ),
    "bad-config": (
        {"child": job(), "seen": pod(scheduled(21, waiting("CreateContainerConfigError", "secret not found")))},
        "CreateContainerConfigError",
    ),
    "never-scheduled": (
        {
            "child": job(),
            "seen": pod(
                {
                    "conditions": [
                        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "cpu"}
                    ]
                },
                creationTimestamp=stamp(-400),
            ),
        },
        "Unschedulable",
    ),
    "pod-refused": ({"state": "created", "child": job(21), "troubles": {JOB: "exceeded quota"}}, "FailedCreate"),
    "no-pod-ever": ({"state": "created", "child": job(361)}, "NeverStarted"),
    "job-refused": ({"state": "created", "age": 61, "troubles": {JOB: "denied by policy"}}, "FailedCreate"),
    "pod-deleted": ({"child": job()}, "PodDeleted"),
    "job-deleted": ({}, "JobDeleted"),
    "kubelet-silent-after-delete": (
        {"child": job(), "seen": pod(running(9), deletionTimestamp=stamp(-16))},
        "NodeLost",
    ),
    "node-gone": ({"child": job(), "seen": pod(running(9)), "nodes": {"other": health()["node1"]}}, "NodeLost"),
    "node-not-ready": (
        {"child": job(), "seen": pod(running(9)), "nodes": health(ready=False, since=31)},
        "NodeLost",
    ),
    "kubelet-missed-its-deadline": ({"child": job(), "seen": pod(running(376))}, "DeadlineExceeded"),
}
GOES_ON = {
    "no-such-image-yet": ({"child": job(), "seen": pod(scheduled(19, waiting(*PULL)))}, "not found"),
    "registry-away-yet": (
        {"child": job(), "seen": pod(scheduled(60, waiting("ImagePullBackOff", "i/o timeout")))},
        "ImagePullBackOff: i/o timeout",
    ),
    "refused-yet": (
        {"state": "created", "child": job(5), "troubles": {JOB: "exceeded quota"}},
        "FailedCreate: exceeded quota",
    ),
    "uploading": ({"child": job(), "seen": pod(terminated(5, sidecar=False))}, "ended with exit code 1"),
    "uploading-after-a-skip": ({"child": job(), "seen": pod(terminated(5, sidecar=False, code=2))}, ""),
    "uploading-after-oom": (
        {"child": job(), "seen": pod(terminated(5, sidecar=False, code=137, reason="OOMKilled"))},
        "OOMKilled, ended with exit code 137",
    ),
    "uploading-all-well": (
        {"child": job(), "seen": pod(terminated(5, sidecar=False, code=0, reason="Completed"))},
        "",
    ),
    "running": ({"child": job(), "seen": pod(running(299))}, ""),
    "node-blinks": ({"child": job(), "seen": pod(running(9)), "nodes": health(ready=False, since=10)}, ""),
    "mount-fails": ({"child": job(), "seen": pod(), "troubles": {"p": "FailedMount"}}, "FailedMount"),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_end(name):
    seen, reason = ENDS[name]
    found = judge(**seen)
    assert isinstance(found, Ended)
    assert found.ending.reason == reason


@pytest.mark.parametrize("name", GOES_ON)
def test_no_end(name):
    seen, trouble = GOES_ON[name]
    found = judge(**seen)
    assert isinstance(found, Going)
    assert trouble in found.trouble
    assert bool(found.trouble) == bool(trouble)
    assert not found.needs_job


def test_a_ledger_entry_without_its_job_gets_it():
    assert judge(state="created") == Going(needs_job=True)
    assert judge(state="created", age=900) == Going(needs_job=True)


def test_a_job_that_the_api_refuses_is_tried_again_for_a_while_and_told():
    found = judge(state="created", age=59, troubles={JOB: "exceeded quota"})
    assert found == Going(needs_job=True, trouble="FailedCreate: exceeded quota")


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (ContainerEnding(exit_code=0, reason="Completed"), ""),
        (ContainerEnding(exit_code=2, reason="Error", message="single machine"), ""),
        (ContainerEnding(exit_code=137, reason="OOMKilled", message="usage"), "OOMKilled, ended with exit code 137"),
        (ContainerEnding(reason="NodeLost", message="node n is gone"), "NodeLost: node n is gone"),
        (ContainerEnding(message="nobody knows"), "nobody knows"),
    ],
)
def test_a_bad_ending_in_words(ending, words):
    assert ended_badly(ending) == words
