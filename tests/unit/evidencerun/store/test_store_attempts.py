# SPDX-License-Identifier: Apache-2.0
"""Attempts: the ledger before the Job, logs that survive kills and cuts, endings read from the API, one judgement."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from evidencerun import limits
from evidencerun.bundle.archive import read_archive
from evidencerun.store import attempts as attempts_module
from evidencerun.store import pod_log
from evidencerun.store.attempts import attempt_log
from evidencerun.verify.duties import verify_unsigned

UID = "0a1b2c3d-0000-4000-8000-000000000001"
PATH = f"/v1/runs/{UID}/attempts"
CHECK = "node-agreement"
KEY = (CHECK, 1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for what never comes is what some of these tests are about; it need not take long."""
    monkeypatch.setattr(attempts_module, "_GIVEN_UP_SECONDS", 0.1)
    monkeypatch.setattr(attempts_module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(pod_log, "_SHORT", 0.01)
    monkeypatch.setattr(pod_log, "_LONG", 0.05)


async def _post(rig: Any, state: str, **more: Any) -> tuple[int, Any]:
    body = {
        "check": CHECK,
        "phase": "deployment",
        "attempt": 1,
        "jobName": f"ev-{UID[:8]}-{CHECK}-1",
        "state": state,
        **more,
    }
    status, answer, _ = await rig.call("POST", PATH, token=rig.api.operator_token(), json_body=body)
    return status, json.loads(answer)


def _ref(pod: dict[str, Any]) -> dict[str, Any]:
    return {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}


def _log_of(rig: Any) -> bytes:
    run = rig.service.runs.get(UID)
    entry = run.ledger[KEY]
    return attempt_log(run, entry, entry.judged.log.dropped if entry.judged else 0)


async def _until(look: Any) -> None:
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _begun(rig: Any, kubelet: Any) -> dict[str, Any]:
    """A run with one attempt whose pod runs."""
    await rig.create()
    await rig.attempt("created")
    pod: dict[str, Any] = rig.api.add_pod(CHECK, 1)
    kubelet.run(pod)
    await rig.attempt("running", pod=_ref(pod))
    return pod


@pytest.mark.parametrize("image_id", ["", "docker://sha256:" + "1" * 64, "x" * 100_000])
async def test_a_node_that_names_no_image_that_ran_spoils_its_check_alone(
    rig: Any, kubelet: Any, image_id: str
) -> None:
    pod = await _begun(rig, kubelet)
    kubelet.end(pod, 0, message="all is well")
    pod["status"]["containerStatuses"][0]["imageID"] = image_id
    view = await rig.attempt("ended", pod=_ref(pod))
    assert (view["state"], view["status"], view["reason"]) == ("ended", "other", "image-unknown")
    await rig.ok("POST", f"/v1/runs/{UID}/seal", token=rig.api.operator_token(), json_body={"reason": "finished"})
    view = await rig.view()
    assert (view["seal"], view["verdict"]) == ("queued", "Incomplete")
    path = f"/v1/seal/{view['bundle']['manifestDigest']}/layer"
    _, layer, _ = await rig.call("GET", path, token=rig.api.sealer_token())
    verify_unsigned(read_archive(layer))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"check": "unknown"}, "no check unknown"),
        ({"phase": "conformance"}, "in phase conformance"),
        ({"jobName": "another"}, "another name than its attempt"),
        ({"image": "evil"}, "not the catalog's"),
        ({"attempt": 2, "jobName": f"ev-{UID[:8]}-{CHECK}-2"}, "attempt 1 of node-agreement has not ended"),
        ({"attempt": limits.ATTEMPTS_MAX + 1, "jobName": f"ev-{UID[:8]}-{CHECK}-11"}, "attempts"),
        ({"state": "running"}, "not in the ledger"),
        ({"state": "ended"}, "not in the ledger"),
    ],
)
async def test_the_ledger_refuses_what_the_plan_does_not_allow(rig: Any, change: dict[str, Any], word: str) -> None:
    await rig.create()
    status, answer = await _post(rig, **{"state": "created", **change})
    assert status == 409, answer
    assert word in answer["message"]
    assert (await rig.view())["attempts"] == []


async def test_the_same_news_twice_changes_nothing(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    first = await rig.view()
    assert (await _post(rig, "created"))[1]["state"] == "running"
    assert (await _post(rig, "running", pod=_ref(pod)))[1] == first["attempts"][0]
    kubelet.end(pod, 1, message="two kernels")
    ended = (await _post(rig, "ended"))[1]
    assert (ended["status"], ended["message"]) == ("failed", "two kernels")
    kubelet.end(pod, 0)
    assert (await _post(rig, "ended"))[1] == ended
    await rig.restart()
    assert (await _post(rig, "ended"))[1] == ended
    assert (await rig.view())["attempts"] == [ended]


async def test_a_pass_after_a_fail_shows_both(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    kubelet.end(pod, 1)
    await rig.attempt("ended")
    await rig.attempt("created", number=2)
    pod = rig.api.add_pod(CHECK, 2)
    kubelet.run(pod)
    await rig.attempt("running", number=2, pod=_ref(pod))
    kubelet.end(pod, 0)
    await rig.attempt("ended", number=2)
    found = [(a["attempt"], a["status"]) for a in (await rig.view())["attempts"]]
    assert found == [(1, "failed"), (2, "passed")]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda pod: pod["metadata"].update(labels={}), "lacks the run's label"),
        (lambda pod: pod["metadata"].update(ownerReferences=[]), "controlled by []"),
        (lambda pod: pod["metadata"]["ownerReferences"][0].update(name="other"), "controlled by ['other']"),
        (lambda pod: pod["metadata"]["ownerReferences"][0].update(kind="ReplicaSet"), "controlled by []"),
        (lambda pod: pod["metadata"].update(uid="another"), "its uid is another"),
    ],
)
async def test_only_a_pod_of_the_ledgers_job_is_followed(rig: Any, change: Any, word: str) -> None:
    await rig.create()
    await rig.attempt("created")
    pod = rig.api.add_pod(CHECK, 1)
    reference = _ref(pod)
    change(pod)
    status, answer = await _post(rig, "running", pod=reference)
    assert status == 409
    assert word in answer["message"]
    assert (await rig.view())["attempts"][0]["state"] == "created"


async def test_a_log_is_kept_up_to_the_kill(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    log = rig.api.logs[pod["metadata"]["name"]]
    log.write(b"before the kill\n")
    kubelet.end(pod, 137, reason="OOMKilled")
    view = (await _post(rig, "ended"))[1]
    assert (view["status"], view["reason"], view["logComplete"]) == ("other", "oom-killed", True)
    assert _log_of(rig) == b"before the kill\n"


async def test_a_stream_that_breaks_is_taken_up_again(rig: Any, kubelet: Any) -> None:
    await rig.create()
    await rig.attempt("created")
    pod = rig.api.add_pod(CHECK, 1)
    kubelet.run(pod)
    log = rig.api.logs[pod["metadata"]["name"]]
    log.write(b"one\ntwo\nthree\n")
    log.cut_after = 6
    await rig.attempt("running", pod=_ref(pod))
    await _until(lambda: _log_of(rig) == b"one\ntwo\nthree\n")
    log.write(b"four\n")
    kubelet.end(pod, 0)
    assert (await _post(rig, "ended"))[1]["logComplete"] is True
    assert _log_of(rig) == b"one\ntwo\nthree\nfour\n"


async def test_following_goes_on_after_a_restart(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    log = rig.api.logs[pod["metadata"]["name"]]
    log.write(b"before\n")
    await _until(lambda: _log_of(rig) == b"before\n")
    await rig.server.stop()
    log.write(b"meanwhile\n")
    await rig.restart()
    await _until(lambda: _log_of(rig) == b"before\nmeanwhile\n")
    kubelet.end(pod, 0)
    assert (await _post(rig, "ended"))[1]["logComplete"] is True


async def test_an_ending_that_was_asked_for_is_judged_after_a_restart(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    rig.api.down = True
    run = rig.service.runs.get(UID)
    entry = run.ledger[KEY].model_copy(update={"ended_at": rig.service.now()})
    run.folder.save_entry(entry)
    rig.api.down = False
    kubelet.end(pod, 0)
    await rig.restart()
    await _until(lambda: rig.service.runs.get(UID).ledger[KEY].judged is not None)
    assert (await rig.view())["attempts"][0]["status"] == "passed"


async def test_a_cut_log_says_so(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    rig.api.logs[pod["metadata"]["name"]].write(b"half a lin")
    await _until(lambda: _log_of(rig) == b"half a lin")
    rig.api.pods.clear()
    rig.api.logs[pod["metadata"]["name"]].write(b"", ended=True)
    told = {"reason": "PodDeleted", "message": "its pod is gone: somebody deleted it"}
    view = (await _post(rig, "ended", ending=told))[1]
    assert (view["status"], view["reason"], view["logComplete"]) == ("other", "pod-deleted", False)
    assert "gone" in view["logReason"]
    assert b"this log is not whole" in _log_of(rig)


async def test_the_stores_own_look_at_the_pod_counts_more_than_the_operators_word(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    kubelet.end(pod, 1, message="really failed")
    view = (await _post(rig, "ended", ending={"exitCode": 0, "reason": "Completed"}))[1]
    assert view["status"] == "failed"
    assert rig.service.runs.get(UID).ledger[KEY].judged.seen_by == "store"


async def test_a_pod_that_cannot_start_is_named_with_the_apis_reason(rig: Any) -> None:
    await rig.create()
    await rig.attempt("created")
    pod = rig.api.add_pod(CHECK, 1)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pod["status"] = {"phase": "Pending", "containerStatuses": [{"name": "validator", "state": waiting}]}
    view = (await _post(rig, "ended", pod=_ref(pod), ending={"reason": "Whatever"}))[1]
    assert (view["status"], view["reason"]) == ("other", "image-pull")
    assert "no such image" in view["message"]


async def test_a_job_that_never_had_a_pod_is_judged_by_the_operators_word(rig: Any) -> None:
    await rig.create()
    await rig.attempt("created")
    view = (await _post(rig, "ended", ending={"reason": "FailedCreate", "message": "exceeded quota"}))[1]
    assert (view["status"], view["reason"]) == ("other", "admission")
    gone = {"name": "long-gone", "uid": "u"}
    assert (await _post(rig, "ended", pod=gone))[1] == view


async def test_a_running_container_that_is_given_up_does_not_hold_the_run(rig: Any, kubelet: Any) -> None:
    await _begun(rig, kubelet)
    view = (await _post(rig, "ended", ending={"reason": "NodeLost", "message": "node-1 is gone"}))[1]
    assert (view["status"], view["reason"]) == ("other", "node-lost")
    assert view["logComplete"] is False


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"reason": "DeadlineExceeded", "message": "given up"}, "timeout"),
        ({"exitCode": 0, "reason": "Completed"}, "pod-deleted"),
        (None, "pod-deleted"),
    ],
)
async def test_a_check_that_is_being_killed_has_not_passed(rig: Any, kubelet: Any, told: Any, reason: str) -> None:
    pod = await _begun(rig, kubelet)
    kubelet.end(pod, 0)
    pod["metadata"].update(deletionTimestamp="2026-11-24T00:00:34Z", deletionGracePeriodSeconds=30)
    view = (await _post(rig, "ended", **({"ending": told} if told else {})))[1]
    assert (view["status"], view["reason"]) == ("other", reason)


async def test_a_check_that_passes_after_its_time_has_not_passed(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    kubelet.end(pod, 0)
    (state,) = [one["state"] for one in pod["status"]["containerStatuses"] if one["name"] == "validator"]
    state["terminated"]["finishedAt"] = "2026-11-25T00:00:00Z"
    view = (await _post(rig, "ended", pod=_ref(pod)))[1]
    assert (view["status"], view["reason"]) == ("other", "timeout")


async def test_the_last_upload_is_awaited(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    kubelet.end(pod, 0, sidecar_over=False)
    pod["status"]["phase"] = "Running"
    asking = asyncio.create_task(_post(rig, "ended"))
    token = rig.api.check_token(CHECK, 1)
    path = f"/v1/runs/{UID}/checks/{CHECK}/1/late.json"
    await _until(lambda: rig.service.runs.get(UID).ledger[KEY].ended_at)
    await rig.ok("PUT", path, token=token, data=b"{}")
    assert not asking.done()
    kubelet.end(pod, 0)
    assert (await asking)[1]["results"] == ["late.json"]
    assert (await rig.call("PUT", path, token=token, data=b"{}"))[0] == 409


async def test_results_have_limits(rig: Any, kubelet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await _begun(rig, kubelet)
    token, base = rig.api.check_token(CHECK, 1), f"/v1/runs/{UID}/checks/{CHECK}/1"
    for name, expected in ((".hidden", 400), ("a%2Fb", 400), ("..", 404), ("x" * 129, 400), ("ok-1.json", 201)):
        status, answer, _ = await rig.call("PUT", f"{base}/{name}", token=token, data=b"x")
        assert status == expected, (name, answer)
    assert (await rig.call("PUT", f"{base}/ok-1.json", token=token, data=b"other"))[0] == 201
    monkeypatch.setattr(limits, "RESULTS_TOTAL_MAX", 10)
    assert (await rig.call("PUT", f"{base}/big", token=token, data=b"x" * 6))[0] == 413
    assert (await rig.call("PUT", f"{base}/ok-1.json", token=token, data=b"x" * 10))[0] == 201
    monkeypatch.setattr(limits, "RESULT_FILES_MAX", 1)
    assert (await rig.call("PUT", f"{base}/more", token=token, data=b""))[0] == 409
    assert (await rig.view())["attempts"][0]["results"] == ["ok-1.json"]


async def test_a_full_volume_holds_the_judgement_back_and_loses_nothing(
    rig: Any, kubelet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    pod = await _begun(rig, kubelet)
    kubelet.end(pod, 0)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        status, answer = await _post(rig, "ended")
        assert status == 507, answer
    assert (await _post(rig, "ended"))[1]["status"] == "passed"


async def test_the_view_of_a_run_is_short_and_the_bundle_is_not(rig: Any, kubelet: Any) -> None:
    pod = await _begun(rig, kubelet)
    token = rig.api.check_token(CHECK, 1)
    for number in range(limits.VIEW_RESULTS_MAX + 3):
        await rig.ok("PUT", f"/v1/runs/{UID}/checks/{CHECK}/1/{number}.txt", token=token, data=b"x")
    kubelet.end(pod, 1, message="m" * 4000)
    whole = (await _post(rig, "ended"))[1]
    assert len(whole["message"]) >= 4000
    assert len(whole["results"]) == limits.VIEW_RESULTS_MAX + 3
    short = (await rig.view())["attempts"][0]
    assert len(short["message"]) == limits.VIEW_MESSAGE_MAX
    assert len(short["results"]) == limits.VIEW_RESULTS_MAX


async def test_a_log_that_cannot_be_opened_does_not_hold_the_run(
    rig: Any, kubelet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evidencerun.store import log_file

    await rig.create()
    await rig.attempt("created")
    pod = rig.api.add_pod(CHECK, 1)
    kubelet.run(pod)
    with monkeypatch.context() as patch:
        patch.setattr(log_file.LogFile, "__init__", _refusing)
        await rig.attempt("running", pod=_ref(pod))
        kubelet.end(pod, 0)
        view = (await _post(rig, "ended"))[1]
    assert (view["status"], view["logComplete"]) == ("passed", False)
    assert "cannot be written" in view["logReason"]


def _refusing(_self: object, path: Any) -> None:
    from evidencerun.store import disk

    raise disk.refused(OSError(5, "Input/output error"), path)
