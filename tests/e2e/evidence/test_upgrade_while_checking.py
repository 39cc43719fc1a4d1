# SPDX-License-Identifier: Apache-2.0
"""`helm upgrade` to other images, and another policy, in the middle of Checking: the run ends on its frozen plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disturbances import open_gate, until_ready
from evidence_lab import CHECKS, REPOSITORY, Evidence, recipe
from observation import Watch
from other_release import Release, build
from trial_checks import entry, policy

pytestmark = pytest.mark.long

NEW_FIELD = "laterField"
CRD = "evidencepolicies.evidencerun.dev"


@pytest.fixture
def release(installed: Any) -> Iterator[Release]:
    """The installed release; it and the CRDs are as before afterwards."""
    found = Release()
    yield found
    found.upgrade({})
    installed.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))


def _add_field(cluster: Any) -> None:
    """Let the policy's CRD know one more field, as a later version of it would."""
    place = f"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{NEW_FIELD}"
    patch = json.dumps([{"op": "add", "path": place, "value": {"type": "string", "maxLength": 63}}])
    cluster.kubectl("patch", "crd", CRD, "--type=json", "-p", patch)


def _gate_pod(watch: Watch) -> str:
    for name, pod in watch.pods.items():
        if pod["metadata"]["labels"].get("evidencerun.dev/check") == "gate":
            entries = pod["status"].get("containerStatuses", [])
            if any("running" in each["state"] for each in entries if each["name"] == "validator"):
                return name
    return ""


def _change_policy(cluster: Any, name: str, image: str) -> None:
    """Other images and arguments for the checks of the run, fewer of them, and the new field."""
    changed = policy(name, [entry("gate", image, args=["exit3"]), entry("fail", image)], **{NEW_FIELD: "later"})

    def accepted() -> bool:
        cluster.apply(changed)
        return bool(cluster.get("evp", name)["spec"].get(NEW_FIELD) == "later")

    cluster.wait_until("the new field is served", accepted)


def test_the_run_ends_on_its_frozen_plan(
    evidence: Evidence, release: Release, trial_image: str, offer: Callable[..., str], tmp_path: Path
):
    cluster = evidence.cluster
    after = entry("pass", trial_image, phase="conformance")
    chosen = offer("upgrade", [entry("gate", trial_image), after])
    before = {name: f"{image['repository']}@{image['digest']}" for name, image in release.values["images"].items()}
    declared = {"deployment": ["gate"], "conformance": ["pass"]}
    spec = {"recipe": {"inline": recipe(checks=declared)}, "policy": chosen, "deadline": "20m"}
    refs = build(tmp_path)
    assert not set(refs.values()) & set(before.values())
    cluster.manage("load", *sorted(tmp_path.glob("*.tar")))
    name = evidence.start(spec, prefix="upgrade")
    uid = evidence.get(name)["metadata"]["uid"]
    with Watch(cluster, name, uid) as watch:
        pod = cluster.wait_until("gate runs", lambda: _gate_pod(watch), timeout=120)
        plan = evidence.status(name)["plan"]
        _add_field(cluster)
        _change_policy(cluster, chosen, refs["evidencerun"])
        release.use(refs)
        for component in ("operator", "store", "sealer"):
            running = until_ready(cluster, component)["spec"]["containers"][0]["image"]
            assert running == refs["evidencerun"]
        assert evidence.status(name)["phase"] == "Checking"
        open_gate(cluster, CHECKS, pod)
        run = evidence.finished(name, timeout=240)
    assert run["status"]["verdict"] == "Passed", run["status"]
    assert run["status"]["plan"] == plan
    files = evidence.bundle(run)
    record = json.loads(files["run.json"])
    assert record["plan"]["images"] == before
    assert [(check["name"], check["status"]) for check in record["checks"]] == [("gate", "passed"), ("pass", "passed")]
    for role in ("images", "observedImages", "checks"):
        assert not any(ref.split("@")[1] in json.dumps(record[role]) for ref in refs.values()), role
    later = watch.pod("pass")["spec"]
    assert later["initContainers"][0]["image"] == before["probe"], "the check that began after the upgrade"
    assert all(len(uids) == 1 for uids in evidence.created(uid).values())
    (tmp_path / "bundle.tar.gz").write_bytes(evidence.archive(run))
    (tmp_path / "signing.pub").write_bytes(evidence.public_key())
    done = evidence.verify(tmp_path / "bundle.tar.gz", tmp_path / "signing.pub")
    assert done.returncode == 0, done.stdout + done.stderr
