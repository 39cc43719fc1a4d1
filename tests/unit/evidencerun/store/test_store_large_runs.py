# SPDX-License-Identifier: Apache-2.0
"""Runs of many nodes: no step holds all reports, no two such steps run at once, and no run outgrows a bundle."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from large_run import put_run
from store_samples import report

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive
from evidencerun.store import evaluating, service
from evidencerun.store.assembling import assemble_bundle
from evidencerun.store.evaluating import evaluate
from evidencerun.store.probe_images import SeenImages
from evidencerun.store.run_folder import RunFolder, SealOrder
from evidencerun.store.runs import Run, load_run
from evidencerun.validation.storeapi import SealRequest
from evidencerun.verify.duties import verify_unsigned

UID = "0a1b2c3d-0000-4000-8000-000000000001"
NODES = 60
READINGS = {f"/proc/sys/vm/{number}": str(number) for number in range(400)}


def _run(folder: Path, redaction: str = "minimal") -> Run:
    return load_run(put_run(folder, nodes=NODES, sysctls=400, functions=60, redaction=redaction))


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


@pytest.mark.long
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
    run = _run(tmp_path)
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
