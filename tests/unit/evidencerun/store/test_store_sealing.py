# SPDX-License-Identifier: Apache-2.0
"""Sealing: assembled once, signed by a published key only, kept as long as the policy says."""

from __future__ import annotations

import errno
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from evidencerun.bundle.archive import read_archive
from evidencerun.canonical import sha256_prefixed
from evidencerun.sealer.sealing import seal
from evidencerun.signers.key import own_key
from evidencerun.validation.storeapi import SealTask

UID = "0a1b2c3d-0000-4000-8000-000000000001"
PATH = f"/v1/runs/{UID}"
ZERO = "sha256:" + "0" * 64


async def _ordered(rig: Any, reason: str = "cancelled", **changes: Any) -> Any:
    await rig.create(**changes)
    await rig.send_report(1)
    return await rig.ok("POST", f"{PATH}/seal", token=rig.api.operator_token(), json_body={"reason": reason})


async def _task(rig: Any) -> tuple[SealTask, bytes]:
    token = rig.api.sealer_token()
    task = SealTask.model_validate(await rig.ok("GET", "/v1/seal", token=token))
    _, layer, _ = await rig.call("GET", f"/v1/seal/{task.manifest_digest}/layer", token=token)
    return task, layer


async def _answer(rig: Any, task: SealTask, **answer: str) -> tuple[int, Any]:
    path, token = f"/v1/seal/{task.manifest_digest}", rig.api.sealer_token()
    status, body, _ = await rig.call("PUT", path, token=token, json_body=answer)
    return status, json.loads(body)


async def _sealed(rig: Any, tmp_path: Path) -> Any:
    signer = own_key(tmp_path / "key")
    await rig.ok("PUT", "/v1/keys", token=rig.api.sealer_token(), data=signer.public_pem)
    task, layer = await _task(rig)
    assert (await _answer(rig, task, attestation=seal(task, layer, signer).decode()))[0] == 200
    return await rig.view()


async def test_a_second_order_changes_nothing(rig: Any) -> None:
    first = await _ordered(rig)
    again = await rig.ok("POST", f"{PATH}/seal", token=rig.api.operator_token(), json_body={"reason": "error"})
    assert again == first
    assert (first["seal"], first["verdict"]) == ("queued", "Cancelled")
    await rig.restart()
    assert await rig.view() == first


async def test_a_kill_between_order_and_bundle_is_made_good(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evidencerun.store import service

    async def never(*_: object) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(service.StoreService, "_assemble_forever", never)
        view = await _ordered(rig)
    assert view["seal"] == "none"
    await rig.restart()
    again = await rig.ok("POST", f"{PATH}/seal", token=rig.api.operator_token(), json_body={"reason": "finished"})
    assert (again["seal"], again["verdict"]) == ("queued", "Cancelled")


async def test_a_kill_at_each_step_of_finishing_gives_one_bundle(
    rig: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _ordered(rig)
    signer = own_key(tmp_path / "key")
    await rig.ok("PUT", "/v1/keys", token=rig.api.sealer_token(), data=signer.public_pem)
    task, layer = await _task(rig)
    attestation = seal(task, layer, signer).decode()
    failures = 0
    for step in range(1, 40):
        count = 0
        real = os.fsync

        def fail(handle: int, _step: int = step, _real: Any = real) -> None:
            nonlocal count
            count += 1
            if count >= _step:
                raise OSError(errno.EIO, "Input/output error")
            _real(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            status, _ = await _answer(rig, task, attestation=attestation)
        await rig.restart()
        view = await rig.view()
        if view["seal"] == "sealed":
            # The last flush may fail after the last rename: sealed, though nobody was told.
            break
        failures += 1
        assert (status, view["seal"]) == (500, "queued")
        assert (await _task(rig))[0] == task
    assert failures >= 5
    assert view["seal"] == "sealed"
    _, archive, _ = await rig.call("GET", f"/v1/bundles/{view['bundle']['archiveDigest']}")
    assert sha256_prefixed(archive) == view["bundle"]["archiveDigest"]


async def test_a_second_signature_does_not_change_the_bundle(rig: Any, tmp_path: Path) -> None:
    await _ordered(rig)
    task, layer = await _task(rig)
    view = await _sealed(rig, tmp_path)
    other = seal(task, layer, own_key(tmp_path / "key")).decode()
    assert (await _answer(rig, task, attestation=other))[0] == 200
    assert (await _answer(rig, task, errorCode="E1", error="too late"))[0] == 200
    assert await rig.view() == view


async def test_what_was_not_to_be_signed_is_refused(rig: Any, tmp_path: Path) -> None:
    await _ordered(rig)
    task, layer = await _task(rig)
    signer = own_key(tmp_path / "key")
    good = seal(task, layer, signer).decode()
    status, answer = await _answer(rig, task, attestation=good)
    assert (status, "not published" in answer["message"]) == (422, True)
    view = await rig.view()
    assert view["seal"] == "failed"
    assert "was not published" in view["sealReason"]

    await rig.ok("PUT", "/v1/keys", token=rig.api.sealer_token(), data=signer.public_pem)
    broken = json.loads(good)
    broken["dsseEnvelope"]["signatures"][0]["sig"] = json.loads(seal(task, layer, own_key(tmp_path / "b")))[
        "dsseEnvelope"
    ]["signatures"][0]["sig"]
    assert (await _answer(rig, task, attestation=json.dumps(broken)))[0] == 422
    other = json.loads(good)
    other["dsseEnvelope"]["payload"] = "e30="
    assert (await _answer(rig, task, attestation=json.dumps(other)))[0] == 422
    assert (await _answer(rig, task, attestation="{}"))[0] == 422
    assert (await rig.view())["seal"] == "failed"
    assert (await _answer(rig, task, attestation=good))[0] == 200
    view = await rig.view()
    assert (view["seal"], view["sealReason"]) == ("sealed", "")


async def test_the_sealers_reason_is_shown_and_the_unsigned_bundle_kept(rig: Any) -> None:
    await _ordered(rig)
    task, layer = await _task(rig)
    await _answer(rig, task, errorCode="E4701", error="signing Secret s not mounted yet")
    view = await rig.view()
    assert (view["seal"], view["sealReason"]) == ("failed", "E4701 signing Secret s not mounted yet")
    assert view["bundle"]["archiveDigest"] == sha256_prefixed(layer)
    assert (await rig.call("GET", f"/v1/bundles/{view['bundle']['archiveDigest']}"))[1] == layer
    assert (await rig.call("GET", "/v1/seal", token=rig.api.sealer_token()))[0] == 204  # it rests for a while
    await rig.restart()
    assert await rig.view() == view
    assert (await _task(rig))[0] == task


async def test_a_bundle_on_which_the_sealer_breaks_down_holds_up_no_other(rig: Any) -> None:
    other = UID[:-1] + "2"
    await _ordered(rig)
    await rig.create(uid=other)
    order = {"token": rig.api.operator_token(), "json_body": {"reason": "cancelled"}}
    await rig.ok("POST", f"/v1/runs/{other}/seal", **order)
    offered = [(await _task(rig))[0].run_uid for _ in range(4)]
    assert offered == [UID, other, UID, other]


async def test_a_policy_that_does_not_sign_ends_unsigned(rig: Any) -> None:
    view = await _ordered(rig, policy={"signing": {"mode": "none"}})
    assert view["seal"] == "unsigned"
    digest = view["bundle"]["archiveDigest"]
    _, archive, _ = await rig.call("GET", f"/v1/bundles/{digest}")
    assert sha256_prefixed(archive) == digest
    assert "attestation.intoto.jsonl" not in read_archive(archive)
    assert (await rig.call("GET", f"/v1/bundles/{digest}/oci/attestation"))[0] == 404
    assert (await rig.call("GET", "/v1/seal", token=rig.api.sealer_token()))[0] == 204


async def test_bundled_logs_have_no_archive_of_their_own(rig: Any) -> None:
    view = await _ordered(rig, spec={"logs": "bundled"})
    assert (view["bundle"]["logsDigest"], view["bundle"]["logsKey"]) == ("", "")
    assert (await rig.call("GET", "/v1/logs/"))[0] == 404


async def test_unknown_and_malformed_names_look_alike(rig: Any) -> None:
    await _ordered(rig)
    bundle = "/v1/bundles"
    answers = [
        await rig.call("GET", path)
        for path in (f"{bundle}/{ZERO}", f"{bundle}/x", f"{bundle}/{ZERO}/oci/layer", f"{bundle}/{ZERO}/oci/x")
    ]
    assert {status for status, _, _ in answers} == {404}
    assert len({body for _, body, _ in answers}) == 1
    logs = [await rig.call("GET", f"/v1/logs/{key}") for key in ("0" * 32, "x")]
    assert len({(status, body) for status, body, _ in logs}) == 1
    for path in (bundle, f"{bundle}/", "/v1/logs", "/v1/logs/"):
        assert (await rig.call("GET", path))[0] == 404


async def test_a_run_that_finished_waits_for_its_attempts(rig: Any) -> None:
    await rig.create()
    await rig.attempt("created")
    operator = rig.api.operator_token()
    status, body, _ = await rig.call("POST", f"{PATH}/seal", token=operator, json_body={"reason": "finished"})
    assert status == 409
    assert b"node-agreement attempt 1" in body
    view = await rig.ok("POST", f"{PATH}/seal", token=operator, json_body={"reason": "deadline"})
    assert view["seal"] == "queued"
    assert view["attempts"][0]["status"] == "other"
    status, _, _ = await rig.call(
        "POST",
        f"{PATH}/attempts",
        token=operator,
        json_body={
            "check": "expected-resources",
            "phase": "deployment",
            "attempt": 1,
            "jobName": f"ev-{UID[:8]}-expected-resources-1",
            "state": "created",
        },
    )
    assert status == 409


async def test_closing_keeps_the_bundle_for_its_time(rig: Any, tmp_path: Path) -> None:
    await _ordered(rig)
    view = await _sealed(rig, tmp_path)
    operator = rig.api.operator_token()
    digest, key = view["bundle"]["archiveDigest"], view["bundle"]["logsKey"]
    for _ in range(2):
        closed = await rig.ok("POST", f"{PATH}/close", token=operator)
    assert closed["closed"] is True
    folder = rig.service.runs.get(UID).folder
    names = {path.name for path in folder.path.iterdir()}
    assert not names & {"nodes", "attempts", "evaluation", "conflicts", "joined"}
    assert (await rig.ok("GET", "/v1/runs?open", token=operator))["runs"] == []
    await rig.restart()
    assert await rig.view() == closed
    for path in (f"/v1/bundles/{digest}", f"/v1/bundles/{digest}/oci/attestation", f"/v1/logs/{key}"):
        assert (await rig.call("GET", path))[0] == 200
    rig.clock.time += timedelta(minutes=59)
    await rig.service.retire()
    assert (await rig.call("GET", f"/v1/bundles/{digest}"))[0] == 200
    rig.clock.time += timedelta(minutes=2)
    await rig.service.retire()
    for path in (f"/v1/bundles/{digest}", f"/v1/logs/{key}"):
        assert (await rig.call("GET", path))[0] == 404
    assert not folder.path.exists()


async def test_a_closing_that_was_interrupted_is_finished_at_start(rig: Any) -> None:
    await _ordered(rig)
    run = rig.service.runs.get(UID)
    await rig.ok("POST", f"{PATH}/close", token=rig.api.operator_token())
    (run.folder.nodes).mkdir()
    (run.folder.nodes / "left").write_bytes(b"over")
    await rig.restart()
    assert not run.folder.nodes.exists()


async def test_an_abandoned_run_goes_unless_its_bundle_may_be_held(rig: Any, tmp_path: Path) -> None:
    await rig.create()
    operator = rig.api.operator_token()
    for _ in range(2):
        assert (await rig.call("DELETE", PATH, token=operator))[0] == 204
    assert (await rig.call("GET", PATH, token=operator))[0] == 404
    assert list(rig.service.runs.root.iterdir()) == []
    await _ordered(rig)
    view = await _sealed(rig, tmp_path)
    assert (await rig.call("DELETE", PATH, token=operator))[0] == 204
    assert (await rig.view())["closed"] is True
    assert (await rig.call("GET", f"/v1/bundles/{view['bundle']['archiveDigest']}"))[0] == 200


async def test_an_unforeseen_fault_in_assembly_shows_and_is_tried_again(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evidencerun.store import service

    def broken(*_: object) -> None:
        raise KeyError("oops")

    with monkeypatch.context() as patch:
        patch.setattr(service, "assemble_bundle", broken)
        patch.setattr("evidencerun.store.api_runs._SEAL_PATIENCE", 0.3)
        view = await _ordered(rig)
        assert view["seal"] == "failed"
        assert "KeyError" in view["sealReason"]
    await rig.restart()
    again = await rig.ok("POST", f"{PATH}/seal", token=rig.api.operator_token(), json_body={"reason": "cancelled"})
    assert again["seal"] == "queued"


async def test_leftovers_of_a_removed_run_are_swept(rig: Any) -> None:
    late = rig.service.runs.root / UID / "nodes"
    late.mkdir(parents=True)
    (late / "node").write_bytes(b"too late")
    await rig.restart()
    assert list(rig.service.runs.root.iterdir()) == []
