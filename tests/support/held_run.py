# SPDX-License-Identifier: Apache-2.0
"""One run that is led through every state of docs/architecture.md and stands still in each until the test is done.

Most states are held by what holds them in life: a policy that is missing, a node that takes no probe, a check that
goes on, no sealer, a volume that nobody provides, a finalizer of somebody else. Planned and Evaluating pass within one
look of the operator; there the API server refuses every status that leaves them, which is also what a crash between
an action and its record looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from disturbances import hold, holds, open_gate, scale, set_finalizers, spare_node
from evidence_lab import CHECKS, DEMO_WEB, RUNS, Evidence, recipe
from trial_checks import entry, policy

_TAINT = "e2e.evidencerun.dev/no-probe"
_FINALIZER = "e2e.evidencerun.dev/hold"
_LABEL = "e2e.evidencerun.dev/volume"
STATES = ("Pending", "Planned", "Probing", "Evaluating", "Checking", "Sealing", "Delivering", "CleaningUp")


@dataclass(kw_only=True)
class HeldRun:
    """`lead(visit)` calls `visit(state)` in each state; `visited` holds (state, phase before, phase after)."""

    lab: Evidence
    image: str
    unique: str
    visited: list[tuple[str, str, str]] = field(default_factory=list)
    name: str = ""
    uid: str = ""
    _node: str = ""
    _volume: str = ""

    @property
    def _policy(self) -> str:
        return f"held-{self.unique}"

    @property
    def _claim(self) -> str:
        return f"held-{self.unique}"

    def lead(self, visit: Callable[[str], None]) -> dict[str, Any]:
        """Lead the run to its end and return it."""
        cluster, lab = self.lab.cluster, self.lab
        self._prepare()
        lab.until_phase(self.name, "Pending")
        hold(cluster, self.name, "Pending")
        cluster.wait_until("status can be held", lambda: holds(cluster, self.name))
        self._visit("Pending", visit)
        hold(cluster, self.name, "Planned")
        cluster.apply(policy(self._policy, self._catalog()))
        self._arrive("Planned", visit)
        hold(cluster, self.name, "Evaluating")
        self._arrive("Probing", visit)
        self._taint(off=True)
        self._arrive("Evaluating", visit)
        scale(cluster, "evidence-sealer", 0)
        hold(cluster, self.name, "")
        self._arrive("Checking", visit)
        job = f"ev-{self.uid[:8]}-gate-1"
        pod = cluster.wait_until("gate runs", self._gate)
        set_finalizers(cluster, f"job/{job}", CHECKS, _FINALIZER)
        open_gate(cluster, CHECKS, pod)
        self._arrive("Sealing", visit)
        scale(cluster, "evidence-sealer", 1)
        self._arrive("Delivering", visit)
        self._provide()
        self._arrive("CleaningUp", visit)
        set_finalizers(cluster, f"job/{job}", CHECKS)
        return lab.finished(self.name, timeout=240)

    def _arrive(self, state: str, visit: Callable[[str], None]) -> None:
        self.lab.until_phase(self.name, state, timeout=120)
        self._visit(state, visit)

    def _visit(self, state: str, visit: Callable[[str], None]) -> None:
        before = self.lab.status(self.name)["phase"]
        visit(state)
        self.visited.append((state, before, self.lab.status(self.name)["phase"]))

    def _catalog(self) -> list[dict[str, Any]]:
        found = self.lab.cluster.get("evp", "default")["spec"]["catalog"]
        return [*(check for check in found if check["name"] == "expected-resources"), entry("gate", self.image)]

    def _prepare(self) -> None:
        cluster = self.lab.cluster
        # The parts that are deleted must find their way back to their volumes: a node without them takes no probe.
        self._node = spare_node(cluster)
        self._taint()
        cluster.create(_claim(self._claim, self.unique))
        spec = {
            "recipe": {"inline": recipe(components=[DEMO_WEB], checks={"deployment": ["expected-resources", "gate"]})},
            "policy": self._policy,
            "deadline": "20m",
            "deliver": {"pvc": {"claimName": self._claim}},
        }
        self.name = self.lab.start(spec, prefix="held")
        self.uid = self.lab.get(self.name)["metadata"]["uid"]

    def _taint(self, *, off: bool = False) -> None:
        self.lab.cluster.kubectl("taint", "node", self._node, f"{_TAINT}=e2e:NoSchedule{'-' if off else ''}")

    def _gate(self) -> str:
        selector = f"evidencerun.dev/run-uid={self.uid},evidencerun.dev/check=gate"
        for pod in self.lab.cluster.get("pods", "-n", CHECKS, "-l", selector)["items"]:
            for status in pod["status"].get("containerStatuses", []):
                if status["name"] == "validator" and "running" in status["state"]:
                    return str(pod["metadata"]["name"])
        return ""

    def _provide(self) -> None:
        """Label a free volume so that the claim's selector finds it."""
        volumes = self.lab.cluster.get("persistentvolumes")["items"]
        self._volume = next(v["metadata"]["name"] for v in volumes if v["status"]["phase"] == "Available")
        self.lab.cluster.kubectl("label", "pv", self._volume, f"{_LABEL}={self.unique}")

    def clear(self) -> None:
        """Undo all that holds a run, whatever has happened."""
        cluster = self.lab.cluster
        if not self.name:
            return
        cluster.kubectl("taint", "node", self._node, f"{_TAINT}-", check=False)
        set_finalizers(cluster, f"job/ev-{self.uid[:8]}-gate-1", CHECKS)
        scale(cluster, "evidence-sealer", 1)
        cluster.kubectl("delete", "evr", "-n", RUNS, self.name, "--ignore-not-found", "--wait=false")
        cluster.kubectl("delete", "evp", self._policy, "--ignore-not-found")
        cluster.kubectl("delete", "pvc", "-n", RUNS, self._claim, "--ignore-not-found", "--wait=false")
        if self._volume:
            cluster.kubectl("label", "pv", self._volume, f"{_LABEL}-", check=False)


def _claim(name: str, unique: str) -> dict[str, Any]:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "64Mi"}},
        "selector": {"matchLabels": {_LABEL: unique}},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": RUNS},
        "spec": spec,
    }
