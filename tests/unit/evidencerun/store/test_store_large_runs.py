# SPDX-License-Identifier: Apache-2.0
"""Runs of many nodes: no step holds all reports, no two such steps run at once, and no run outgrows a bundle."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from store_samples import RECIPE, VERSION, packed, report

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive
from evidencerun.canonical import sha256_hex
from evidencerun.recipe import load_recipe
from evidencerun.store import evaluating, report_files, service
from evidencerun.store.assembling import assemble_bundle
from evidencerun.store.evaluating import evaluate
from evidencerun.store.probe_images import SeenImages
from evidencerun.store.report_files import Origin
from evidencerun.store.run_folder import RunFolder, SealOrder
from evidencerun.store.runs import Run, load_run
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import SealRequest
from evidencerun.verify.duties import verify_unsigned

UID = "0a1b2c3d-0000-4000-8000-000000000001"
NODES = 60
READINGS = {f"/proc/sys/kernel/setting_with_a_long_name_{number}": str(number) for number in range(400)}
PCI = [
    {"address": f"0000:{number:02x}:00.0", "vendor": "8086", "device": "0d57", "classCode": "060400"}
    for number in range(60)
]


def _run(folder: Path, redaction: str) -> Run:
    """Put a run with the reports of many nodes onto the volume, as if they had come."""
    path = folder / UID
    targets = []
    for number in range(NODES):
        uid = f"node-uid-{number:04d}"
        measurements = {"OS.release": {"ID": "debian", "VERSION_ID": "12"}, "OS.sysctl": READINGS}
        content = report(number, measurements=measurements, pci=PCI)
        origin = Origin(
            node_uid=uid,
            node_name=f"node-{number}",
            pod_uid=f"probe-uid-{number}",
            pod_name=f"probe-{number}",
            received_at="2026-11-24T00:01:00Z",
            sha256=sha256_hex(content),
        )
        report_files.keep(path / "nodes", origin, packed(content))
        targets.append({"uid": uid, "name": f"node-{number}", "pool": "any"})
    recipe = load_recipe(RECIPE)
    entry = {"name": "expected-resources", "phase": "deployment", "image": "i@sha256:" + "1" * 64}
    catalog = [entry, entry | {"name": "node-agreement"}]
    plan = {
        "run": {"uid": UID, "name": "large", "namespace": "evidence", "generation": 1},
        "spec": {"recipe": {"inline": RECIPE.decode()}},
        "policy": {"uid": "p", "name": "default", "generation": 1},
        "policySpec": {"pools": [{"name": "any"}], "catalog": catalog, "redaction": redaction},
        "recipeName": recipe.name,
        "recipeDigest": recipe.digest,
        "recipe": base64.b64encode(RECIPE).decode(),
        "cluster": {"caDigest": "sha256:" + "0" * 64, "server": VERSION},
        "targetNodes": targets,
        "checks": [{"name": each["name"], "phase": "deployment", "entry": each} for each in catalog],
        "images": {"evidencerun": "i", "probe": "i"},
        "nonce": "0" * 32,
        "frozenAt": "2026-11-24T00:00:00Z",
        "deadlineTime": "2026-11-24T02:00:00Z",
    }
    (path / "plan.json").write_bytes(Plan.model_validate(plan).to_bytes())
    (path / "redaction.key").write_bytes(b"k" * 32)
    (path / "logs.key").write_bytes(b"a" * 32)
    card = {"uid": UID, "name": "large", "namespace": "evidence", "planDigest": "x", "bundleSeconds": 1}
    (path / "run.json").write_text(json.dumps(card | {"signingMode": "key", "createdAt": "x"}))
    return load_run(path)


def _evaluate(folder: RunFolder) -> Any:
    return evaluate(folder, stragglers={}, taken_at="2026-11-24T00:02:00Z", images=SeenImages(images=[]))


def _peak(work: Any) -> int:
    """Return the greatest number of bytes that Python objects took beyond those that were there."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("redaction", ["minimal", "none"])
def test_no_step_holds_the_reports_of_all_nodes(tmp_path: Path, redaction: str) -> None:
    """As objects the reports take some fifteen times their text; each step must do with little more than the text."""
    run = _run(tmp_path, redaction)
    found = _peak(lambda: _evaluate(run.folder))
    document = (run.folder.evaluation / "nodes.json").stat().st_size
    assert found < document
    order = SealOrder(request=SealRequest(reason="cancelled"), sealed_at="2026-11-24T00:03:00Z")
    found = _peak(lambda: assemble_bundle(run, order))
    files = read_archive(run.folder.read("bundle/layer"))
    assert found < document + 3 * len(files[layout.NODES])
    assert _peak(lambda: verify_unsigned(files)) < document + 4 * limits.MIB  # it reads in pieces of one MiB
    assert json.loads(files[layout.RUN])["nodes"]["reported"] == NODES


def test_what_does_not_fit_into_a_bundle_is_not_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tmp_path, "minimal")
    monkeypatch.setattr(limits, "NODES_DOCUMENT_MAX", 100_000)
    with pytest.raises(evaluating.StoreError, match="too large for a bundle") as caught:
        _evaluate(run.folder)
    assert caught.value.code == "E4522"
    assert not run.folder.evaluation.exists()
    assert not [path for path in run.folder.path.iterdir() if path.name.startswith(".new-")]


async def test_a_node_may_send_its_share_of_what_a_bundle_holds(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.create()
    data = report(1, measurements={"OS.sysctl": READINGS})
    monkeypatch.setattr(limits, "RUN_REPORTS_MAX", 2 * len(data) - 2)
    status, body, _ = await rig.send_report(1, data)
    assert (status, b"too large" in body) == (413, True)
    monkeypatch.setattr(limits, "RUN_REPORTS_MAX", 2 * len(data))
    assert (await rig.send_report(1, data))[0] == 201


async def test_large_work_is_done_one_after_the_other(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.create()
    first = rig.service.runs.get(UID)
    other = Run(card=first.card, folder=first.folder)
    at_work, most, guard = 0, 0, threading.Lock()

    def slow(*_: object, **__: object) -> Any:
        nonlocal at_work, most
        with guard:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.05)
        with guard:
            at_work -= 1
        return SimpleNamespace(overall="matched", ready=True, reported=0)

    monkeypatch.setattr(service, "evaluate", slow)
    await asyncio.gather(rig.service.evaluate(first, {}), rig.service.evaluate(other, {}))
    assert most == 1
