# SPDX-License-Identifier: Apache-2.0
"""Operator, store and sealer are deleted and killed in every state of a run, and the run does not show it.

Each test leads one run through all states. It ends Passed, the bundle verifies, the API server created each child
once, and nothing is left: all of it read from the API server and the bundle, not from the product's own counters.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disturbances import delete_pod, holding, kill_process, processes, until_ready
from evidence_lab import CHECKS, PROBES, RUNS, Evidence, recipe
from held_run import STATES, HeldRun
from trial_checks import entry

Visit = Callable[[str], None]


@pytest.fixture(scope="module")
def holder(installed: Any) -> Iterator[Any]:
    """The cluster, in which runs can be held."""
    with holding(installed):
        yield installed


def _only_local(cluster: Any) -> None:
    if cluster.flavour != "local":
        pytest.skip("processes are stopped and volumes handed out by hand, which only the local cluster allows")


@pytest.fixture
def held(holder: Any, trial_image: str) -> Iterator[HeldRun]:
    """A run that can be led through all states."""
    _only_local(holder)
    run = HeldRun(lab=Evidence(cluster=holder), image=trial_image, unique=secrets.token_hex(3))
    yield run
    run.clear()


def _delete(cluster: Any, *components: str, force: bool = False) -> None:
    """Delete the pods of these components and wait for their successors."""
    before = {component: delete_pod(cluster, component, force=force) for component in components}
    for component, uid in before.items():
        until_ready(cluster, component, other_than=uid)


def _operator(cluster: Any) -> Visit:
    def visit(state: str) -> None:
        if state == "Checking":
            kill_process(cluster, "operator")
        _delete(cluster, "operator")

    return visit


def _store(cluster: Any) -> Visit:
    def visit(state: str) -> None:
        if state in ("Checking", "Sealing"):
            kill_process(cluster, "store")
        _delete(cluster, "store")

    return visit


def _all_parts(cluster: Any) -> Visit:
    def visit(state: str) -> None:
        store = delete_pod(cluster, "store")
        _delete(cluster, "operator", force=True)
        until_ready(cluster, "store", other_than=store)

    return visit


def _prove(held: HeldRun, run: dict[str, Any], folder: Path) -> None:
    lab, status = held.lab, run["status"]
    assert [state for state, _, _ in held.visited] == list(STATES)
    assert all(before == state == after for state, before, after in held.visited), held.visited
    assert status["verdict"] == "Passed", status
    assert status["bundle"]["delivered"], status
    (folder / "bundle.tar.gz").write_bytes(lab.archive(run))
    (folder / "signing.pub").write_bytes(lab.public_key())
    done = lab.verify(folder / "bundle.tar.gz", folder / "signing.pub")
    assert done.returncode == 0, done.stdout + done.stderr
    short = held.uid[:8]
    created = lab.created(held.uid)
    assert set(created) == {
        f"configmaps/{PROBES}/ev-{short}-anchor",
        f"configmaps/{CHECKS}/ev-{short}-anchor",
        f"daemonsets/{PROBES}/ev-{short}-probe-any",
        f"jobs/{CHECKS}/ev-{short}-expected-resources-1",
        f"jobs/{CHECKS}/ev-{short}-gate-1",
        f"jobs/{RUNS}/ev-{short}-deliver",
    }
    assert all(len(uids) == 1 for uids in created.values()), created
    record = json.loads(lab.bundle(run)["run.json"])
    assert [(check["name"], len(check["attempts"])) for check in record["checks"]] == [
        ("expected-resources", 1),
        ("gate", 1),
    ]
    assert lab.leftovers(held.uid) == []


def test_the_operator_is_deleted_in_each_state(held: HeldRun, tmp_path: Path):
    _prove(held, held.lead(_operator(held.lab.cluster)), tmp_path)


@pytest.mark.long
def test_the_store_is_deleted_in_each_state(held: HeldRun, tmp_path: Path):
    _prove(held, held.lead(_store(held.lab.cluster)), tmp_path)


@pytest.mark.long
def test_operator_and_store_are_gone_at_once_in_each_state(held: HeldRun, tmp_path: Path):
    _prove(held, held.lead(_all_parts(held.lab.cluster)), tmp_path)


def _ticks(number: int) -> int:
    """CPU time that a process has used so far, in clock ticks of 10 ms."""
    fields = Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _at_work(number: int) -> bool:
    """Let a stopped process run in short slices until it has used far more CPU time than a look for work takes."""
    begun, deadline = _ticks(number), time.monotonic() + 60
    while time.monotonic() < deadline:
        os.kill(number, signal.SIGCONT)
        time.sleep(0.01)
        os.kill(number, signal.SIGSTOP)
        if _ticks(number) - begun >= 6:
            return True
    return False


def test_the_sealer_is_killed_while_it_seals(
    evidence: Evidence, trial_image: str, offer: Callable[..., str], tmp_path: Path
):
    """A bundle with megabytes of log, so that checking it takes the sealer a moment."""
    cluster = evidence.cluster
    _only_local(cluster)
    (number,) = processes(until_ready(cluster, "sealer")["metadata"]["uid"])
    os.kill(number, signal.SIGSTOP)
    spec = {
        "recipe": {"inline": recipe(checks={"deployment": ["chatty"]})},
        "policy": offer("sealer", [entry("chatty", trial_image)]),
        "logs": "bundled",
        "deadline": "10m",
    }
    name = evidence.start(spec, prefix="sealer")
    evidence.until_phase(name, "Sealing", timeout=120)
    cluster.wait_until(
        "the bundle waits for the sealer", lambda: "waits" in evidence.condition(name, "Sealed")["message"]
    )
    assert _at_work(number), "the sealer was never seen at work"
    os.kill(number, signal.SIGKILL)
    assert evidence.status(name)["phase"] == "Sealing", "it was killed too late"
    until_ready(cluster, "sealer", other_than=delete_pod(cluster, "sealer", force=True))
    run = evidence.finished(name)
    assert run["status"]["verdict"] == "Passed"
    (tmp_path / "bundle.tar.gz").write_bytes(evidence.archive(run))
    (tmp_path / "signing.pub").write_bytes(evidence.public_key())
    done = evidence.verify(tmp_path / "bundle.tar.gz", tmp_path / "signing.pub")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(len(uids) == 1 for uids in evidence.created(run["metadata"]["uid"]).values())
    assert evidence.leftovers(run["metadata"]["uid"]) == []
