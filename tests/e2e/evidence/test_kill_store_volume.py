# SPDX-License-Identifier: Apache-2.0
"""The store's volume has no room: nothing is acknowledged that is not stored, people see why, and freeing it heals.

The volume is a small one in memory, laid over the real one inside the node, so that the kernel itself says ENOSPC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from disturbances import no_probe_on, node_of_volume, spare_node, until_ready
from evidence_lab import PROBES, SYSTEM, Evidence, recipe
from trial_checks import entry

pytestmark = pytest.mark.long

ROOM_KIB = 16 * 1024
"""More than a run needs, little enough to fill at once; on top of what the volume holds already."""


@dataclass(frozen=True, kw_only=True)
class SmallVolume:
    """The store's volume, of a few megabytes; `path` is that of the node."""

    cluster: Any
    number: str
    path: str

    def node(self, *words: str) -> str:
        """Run a command inside the store's node."""
        return str(self.cluster.manage("exec-node", self.number, "--", *words))

    def fill(self) -> None:
        """Leave no byte of room."""
        self.node("sh", "-c", f"cat /dev/zero > {self.path}/ballast 2>/dev/null; sync; df -k {self.path} | tail -1")

    def free(self) -> None:
        """Make room again."""
        self.node("rm", f"{self.path}/ballast")


def _stand_still(cluster: Any, replicas: int) -> None:
    cluster.kubectl("scale", "-n", SYSTEM, "statefulset/evidence-store", f"--replicas={replicas}")
    if replicas:
        until_ready(cluster, "store")
    else:
        cluster.kubectl("wait", "pod", "-n", SYSTEM, "evidence-store-0", "--for=delete", "--timeout=90s", check=False)


@pytest.fixture
def small_volume(installed: Any) -> Iterator[SmallVolume]:
    """The store on a small volume that holds what the real one holds; afterwards it is back on the real one."""
    if installed.flavour != "local":
        pytest.skip("only the local cluster's volumes are folders of a node that can be reached")
    claim = installed.get("pvc", "-n", SYSTEM, "data-evidence-store-0")["spec"]["volumeName"]
    volume = installed.get("pv", claim)
    path = volume["spec"]["local"]["path"]
    found = SmallVolume(cluster=installed, number=node_of_volume(volume).removeprefix("node"), path=path)
    beside = f"{path}.small"
    _stand_still(installed, 0)
    try:
        used = int(found.node("du", "-sk", path).split()[0])
        found.node("mkdir", "-p", beside)
        found.node("mount", "-t", "tmpfs", "-o", f"size={used + ROOM_KIB}k,mode=0777", "tmpfs", beside)
        found.node("cp", "-a", f"{path}/.", beside)
        found.node("mount", "--bind", beside, path)
        _stand_still(installed, 1)
        yield found
    finally:
        _stand_still(installed, 0)
        script = f"umount {path} && cp -a {beside}/. {path}; umount {beside}; rmdir {beside}"
        found.node("sh", "-c", script)
        _stand_still(installed, 1)


def _probe_on(evidence: Evidence, uid: str, node: str) -> dict[str, Any]:
    pods = evidence.cluster.get("pods", "-n", PROBES, "-l", f"evidencerun.dev/run-uid={uid}")["items"]
    return next((pod for pod in pods if pod["spec"].get("nodeName") == node), {})


def _refused(evidence: Evidence, uid: str, node: str) -> bool:
    pod = _probe_on(evidence, uid, node)
    if pod.get("status", {}).get("phase") != "Running":
        return False
    log = evidence.cluster.kubectl("logs", "-n", PROBES, pod["metadata"]["name"], check=False).stdout
    return "upload-failed" in log and "full" in log


def test_a_full_volume_acknowledges_nothing_and_heals(
    evidence: Evidence, small_volume: SmallVolume, trial_image: str, offer: Callable[..., str], tmp_path: Path
):
    cluster = evidence.cluster
    node = spare_node(cluster)
    spec = {
        "recipe": {"inline": recipe(checks={"deployment": ["pass"]})},
        "policy": offer("full", [entry("pass", trial_image)]),
        "deadline": "15m",
    }
    small_volume.fill()
    with no_probe_on(cluster, node) as let_on:
        name = evidence.start(spec, prefix="full")
        uid = evidence.get(name)["metadata"]["uid"]
        cluster.wait_until(
            "the plan is refused", lambda: "full" in evidence.status(name).get("summary", ""), timeout=90
        )
        assert "plan" not in evidence.status(name), "a plan that is not stored is not frozen"
        small_volume.free()
        others = len(cluster.nodes()) - 1
        cluster.wait_until("the others have reported", lambda: _reported(evidence, name) == others, timeout=120)
        small_volume.fill()
        let_on()
        cluster.wait_until("its report is refused", lambda: _refused(evidence, uid, node), timeout=90)
        cluster.wait_until("the run says so", lambda: "full" in evidence.status(name)["summary"], timeout=60)
        assert evidence.condition(name, "Durable")["reason"] == "VolumeTrouble"
        assert _reported(evidence, name) == others
        pod = _probe_on(evidence, uid, node)
        assert not any(each["ready"] for each in pod["status"]["containerStatuses"]), "it has no acknowledgement"
        small_volume.free()
        run = evidence.finished(name, timeout=240)
    assert run["status"]["verdict"] == "Passed", run["status"]
    assert evidence.condition(name, "Durable")["status"] == "True"
    (tmp_path / "bundle.tar.gz").write_bytes(evidence.archive(run))
    (tmp_path / "signing.pub").write_bytes(evidence.public_key())
    done = evidence.verify(tmp_path / "bundle.tar.gz", tmp_path / "signing.pub")
    assert done.returncode == 0, done.stdout + done.stderr


def _reported(evidence: Evidence, name: str) -> int:
    return int((evidence.status(name).get("nodes") or {}).get("reported") or 0)
