# SPDX-License-Identifier: Apache-2.0
"""Node reports: kept before they are acknowledged, once per node, with every contradiction."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from evidencerun import limits
from evidencerun.bundle.archive import read_archive
from evidencerun.store import disk, report_files
from evidencerun.store.report_files import Kept, Origin

UID = "0a1b2c3d-0000-4000-8000-000000000001"
PATH = f"/v1/runs/{UID}/nodes/self"


def _origin(content: bytes, node: str = "uid-1") -> Origin:
    return Origin(
        node_uid=node,
        node_name="n",
        pod_uid="p",
        pod_name="p",
        received_at="t",
        sha256=hashlib.sha256(content).hexdigest(),
    )


async def test_a_report_is_stored_once_and_survives(rig: Any, report_of: Any) -> None:
    await rig.create()
    assert (await rig.call("HEAD", PATH, token=rig.api.probe_token(1)))[0] == 404
    data = report_of(1)
    status, body, _ = await rig.send_report(1, data)
    assert (status, json.loads(body)["sha256"]) == (201, hashlib.sha256(data).hexdigest())
    assert (await rig.send_report(1, data))[0] == 200
    assert (await rig.call("HEAD", PATH, token=rig.api.probe_token(1)))[0] == 200
    before = await rig.view()
    assert before["reported"] == ["node-uid-0001"]
    await rig.restart()
    assert await rig.view() == before


async def test_a_different_report_is_kept_and_flagged(rig: Any, report_of: Any) -> None:
    await rig.create()
    await rig.send_report(1)
    for number in range(limits.CONFLICTS_MAX):
        status, body, _ = await rig.send_report(1, report_of(1, bootId=f"other-{number}"))
        assert (status, json.loads(body)["conflict"]) == (200, True)
        assert (await rig.send_report(1, report_of(1, bootId=f"other-{number}")))[0] == 200
    status, body, _ = await rig.send_report(1, report_of(1, bootId="one too many"))
    assert (status, json.loads(body)["reason"]) == (409, "Conflict")
    await rig.ok("POST", f"/v1/runs/{UID}/evaluate", token=rig.api.operator_token(), json_body={})
    nodes = json.loads(rig.service.runs.get(UID).folder.read("evaluation/nodes.json"))
    first = nodes["nodes"][0]
    assert first["conflictingReports"] == limits.CONFLICTS_MAX
    assert first["report"]["bootId"] == "boot-1"


async def test_a_node_that_joined_late_is_kept_apart(rig: Any, report_of: Any) -> None:
    await rig.create()
    status, _, _ = await rig.send_report(7, report_of(7))
    assert status == 201
    assert (await rig.view())["reported"] == []
    assert (await rig.call("HEAD", PATH, token=rig.api.probe_token(7)))[0] == 200
    assert (rig.service.runs.get(UID).folder.joined / "node-uid-0007").exists()


async def test_stragglers_stand_in_the_evaluation_with_their_reason(rig: Any) -> None:
    await rig.create()
    await rig.send_report(1)
    body = {"stragglers": {"node-uid-0002": "ImagePullBackOff: no such image"}}
    found = await rig.ok("POST", f"/v1/runs/{UID}/evaluate", token=rig.api.operator_token(), json_body=body)
    assert (found["reported"], found["missing"], found["coverageMet"]) == (1, 1, False)
    again = await rig.ok("POST", f"/v1/runs/{UID}/evaluate", token=rig.api.operator_token(), json_body={})
    assert again == found
    nodes = json.loads(rig.service.runs.get(UID).folder.read("evaluation/nodes.json"))["nodes"]
    assert nodes[1]["reason"] == "ImagePullBackOff: no such image"
    await rig.restart()
    assert (await rig.view())["evaluation"] == found


async def test_the_images_of_the_probes_are_those_that_ran(rig: Any) -> None:
    await rig.create()
    ran = "registry.example.com/probe@sha256:" + "3" * 64
    statuses = [{"name": "probe", "image": "probe:1", "imageID": ran}]
    for number, uid in ((1, "probe-uid-1"), (2, "the uid of another pod")):
        meta = {"name": f"probe-{number}", "uid": uid}
        rig.api.probes[f"probe-{number}"] = {"metadata": meta, "status": {"containerStatuses": statuses}}
        await rig.send_report(number)
    await rig.ok("POST", f"/v1/runs/{UID}/seal", token=rig.api.operator_token(), json_body={"reason": "cancelled"})
    folder = rig.service.runs.get(UID).folder
    seen = json.loads(folder.read("evaluation/images.json"))
    assert seen == {"images": [{"image": "probe:1", "imageId": ran, "pods": 1}]}
    record = json.loads(read_archive(folder.read("bundle/layer"))["run.json"])
    assert [(image["role"], image["imageId"]) for image in record["images"]] == [("probe", ran)]


async def test_a_report_for_an_unknown_or_sealed_run_is_refused(rig: Any) -> None:
    assert (await rig.send_report(1))[0] == 404
    await rig.create()
    await rig.ok("POST", f"/v1/runs/{UID}/seal", token=rig.api.operator_token(), json_body={"reason": "cancelled"})
    assert (await rig.send_report(1))[0] == 409


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
async def test_a_full_volume_is_never_an_acknowledgement(rig: Any, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    await rig.create()

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        status, body, _ = await rig.send_report(1)
    assert status == 507, body
    view = await rig.view()
    assert view["reported"] == []
    assert "the store's volume is full" in view["volumeTrouble"]
    assert (await rig.call("HEAD", PATH, token=rig.api.probe_token(1)))[0] == 404
    folder = rig.service.runs.get(UID).folder.nodes
    assert not folder.exists() or list(folder.iterdir()) == []
    assert (await rig.send_report(1))[0] == 201
    assert (await rig.view())["volumeTrouble"] == ""


async def test_a_storm_of_reports_is_stored_whole(rig: Any, report_of: Any) -> None:
    await rig.create()
    data = report_of(1)
    answers = await asyncio.gather(*(rig.send_report(1, data, token=rig.api.probe_token(1)) for _ in range(40)))
    assert sorted({status for status, _, _ in answers}) == [200, 201]
    assert [status for status, _, _ in answers].count(201) == 1


def test_a_report_is_whole_or_absent_when_the_process_dies(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    for step in range(1, 12):
        folder = tmp_path / str(step) / "nodes"
        count = 0
        died = False
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "write", "fsync", "link", "mkdir"):
                real = getattr(os, name)

                def call(*args: Any, _real: Any = real, _step: int = step, **options: Any) -> Any:
                    nonlocal count
                    count += 1
                    if count >= _step:
                        raise Killed
                    return _real(*args, **options)

                patch.setattr(os, name, call)
            patch.setattr(os, "unlink", lambda *a, **o: None)
            try:
                report_files.keep(folder, _origin(b"x"), b"body")
            except Killed:
                died = True
        assert died or step > 8
        if folder.exists():
            disk.sweep(folder)
            for path in folder.iterdir():
                assert path.read_bytes().endswith(b"\nbody")
        assert report_files.keep(folder, _origin(b"x"), b"body") in (Kept.FIRST, Kept.REPEAT)
        assert [path.name for path in folder.iterdir() if not path.name.startswith(disk.TEMPORARY)] == ["uid-1"]


def test_a_damaged_report_is_noticed(tmp_path: Path) -> None:
    import gzip

    folder = tmp_path / "nodes"
    report_files.keep(folder, _origin(b"other bytes"), gzip.compress(b"these bytes"))
    with pytest.raises(Exception, match="damaged"):
        report_files.read_report(folder, "uid-1")


@pytest.mark.parametrize("uid", ["", "..", "a/b", ".new-x", "x" * 65, "a\0b"])
def test_a_node_uid_that_is_no_file_name_is_refused(tmp_path: Path, uid: str) -> None:
    with pytest.raises(Exception, match="file name"):
        report_files.keep(tmp_path, _origin(b"x", node=uid), b"")
    assert report_files.read_report(tmp_path, uid) is None
