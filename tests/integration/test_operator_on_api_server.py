# SPDX-License-Identifier: Apache-2.0
"""The operator's own process against a real API server and its controllers; store and kubelets are fakes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DIGEST = "@sha256:" + "1" * 64
NAMESPACES = ("evidencerun-system", "evidencerun-probes", "evidencerun-checks", "evidence", "elsewhere")
RECIPE = """apiVersion: aicr.run/v1
kind: RecipeResult
criteria: {service: any, accelerator: none}
validation:
  deployment:
    checks: [expected-resources, node-agreement]
"""


def _fakes() -> Any:
    spec = importlib.util.spec_from_file_location("operator_fakes", Path(__file__).with_name("operator_fakes.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["operator_fakes"] = module
    spec.loader.exec_module(module)
    return module


fakes = _fakes()


def policy(**more: Any) -> dict[str, Any]:
    image = "registry.invalid/checks" + DIGEST
    catalog = [
        {"name": "expected-resources", "phase": "deployment", "image": image, "rights": "aicr-read", "mandatory": True},
        {"name": "node-agreement", "phase": "deployment", "image": image},
    ]
    spec = {"pools": [{"name": "any", "fallback": True}], "catalog": catalog, **more}
    return {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidencePolicy",
        "metadata": {"name": "default"},
        "spec": spec,
    }


class Bench:
    """A control plane with our kinds, fake nodes, a fake store, and the operator as a process."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.store = fakes.FakeStore().start()
        self.kubelets = fakes.FakeKubelets(str(server.kubeconfig), self.store, list(NAMESPACES[1:4]))
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "token").write_text("a token of the fake", encoding="ascii")

    def prepare(self) -> None:
        self.server.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        for kind in ("evidenceruns", "evidencepolicies"):
            self.server.kubectl("wait", "--for=condition=Established", f"crd/{kind}.evidencerun.dev", "--timeout=30s")
        for namespace in NAMESPACES:
            self.server.kubectl("create", "namespace", namespace)
        for namespace, names in {
            "evidencerun-probes": ("evidence-probe",),
            "evidencerun-checks": ("evidence-check-none", "evidence-check-aicr-read"),
            "evidence": ("default",),
        }.items():
            for name in names:
                self.server.kubectl("create", "serviceaccount", "-n", namespace, name, check=False)
        for name in ("fake-node-1", "fake-node-2"):
            self.kubelets.add_node(name)
        self.apply(policy())
        self.kubelets.start()

    def start_operator(self) -> None:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.server.kubeconfig),
            "EVIDENCERUN_SYSTEM_NAMESPACE": "evidencerun-system",
            "EVIDENCERUN_PROBES_NAMESPACE": "evidencerun-probes",
            "EVIDENCERUN_CHECKS_NAMESPACE": "evidencerun-checks",
            "EVIDENCERUN_RUN_NAMESPACES": "evidence",
            "EVIDENCERUN_STORE_URL": self.store.url,
            "EVIDENCERUN_TOKEN_FILE": str(self.folder / "token"),
            "EVIDENCERUN_IMAGE": "registry.invalid/evidencerun" + DIGEST,
            "EVIDENCERUN_PROBE_IMAGE": "registry.invalid/probe" + DIGEST,
            "EVIDENCERUN_HEALTH_PORT": str(fakes.free_port()),
        }
        with (self.folder / "operator.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "evidencerun_operator.main"], env=environment, stderr=log, stdout=log
            )

    def kill_operator(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def log(self) -> str:
        return (self.folder / "operator.log").read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self.kubelets.stop()
        self.store.stop()

    def apply(self, document: dict[str, Any]) -> None:
        self.server.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def run(self, name: str, namespace: str = "evidence", **spec: Any) -> None:
        self.apply(
            {
                "apiVersion": "evidencerun.dev/v1alpha1",
                "kind": "EvidenceRun",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"recipe": {"inline": RECIPE}, **spec},
            }
        )

    def get(self, name: str, namespace: str = "evidence") -> dict[str, Any]:
        answer = self.server.kubectl("get", "-n", namespace, "evr", name, "-o", "json", check=False)
        return dict(json.loads(answer.stdout)) if answer.returncode == 0 else {}

    def status(self, name: str, namespace: str = "evidence") -> dict[str, Any]:
        return dict(self.get(name, namespace).get("status") or {})

    def condition(self, name: str, kind: str, namespace: str = "evidence") -> dict[str, Any]:
        conditions = self.status(name, namespace).get("conditions") or []
        return next((c for c in conditions if c["type"] == kind), {})

    def finished(self, name: str, *, namespace: str = "evidence", seconds: float = 60) -> dict[str, Any]:
        def complete() -> bool:
            return self.condition(name, "Complete", namespace).get("status") == "True"

        fakes.wait_until(f"{name} is complete: {self.log()[-3000:]}", complete, seconds=seconds)
        return self.status(name, namespace)

    def ours(self) -> list[str]:
        """Names of everything that the operator made and that still exists."""
        found = []
        for namespace in ("evidencerun-probes", "evidencerun-checks", "evidence"):
            answer = self.server.kubectl(
                "get", "-n", namespace, "daemonsets,jobs,pods,configmaps", "-o", "name",
                "-l", "app.kubernetes.io/managed-by=evidencerun",
            )  # fmt: skip
            found += answer.stdout.split()
        return found


@pytest.fixture(scope="module")
def bench(api_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The bench with a running operator."""
    made = Bench(api_server, tmp_path_factory.mktemp("operator"))
    try:
        made.prepare()
        made.start_operator()
        yield made
    finally:
        made.end()


@pytest.fixture(autouse=True)
def levers(bench: Bench) -> Iterator[None]:
    """Every test finds store, kubelets and policy well, and an operator that lives."""
    yield
    bench.store.signs = bench.store.up = bench.store.ready = True
    bench.kubelets.plans.clear()
    bench.kubelets.silent_nodes.clear()
    bench.apply(policy())
    if bench.process is None or bench.process.poll() is not None:
        bench.start_operator()


def test_a_run_passes_all_states_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.run("first")
    status = bench.finished("first")
    assert status["verdict"] == "Passed"
    assert status["phase"] == "Finished"
    assert status["summary"].startswith("2/2 nodes, 2/2 checks")
    assert status["nodes"]["reported"] == 2
    assert status["checks"]["passed"] == 2
    assert status["match"]["overall"] == "matched"
    assert status["nextAction"].startswith("kubectl get --raw ")
    assert {c["type"] for c in status["conditions"] if c["status"] == "Unknown"} == set()
    assert bench.ours() == []
    uid = bench.get("first")["metadata"]["uid"]
    assert bench.store.runs[uid].closed
    events = json.loads(bench.server.kubectl("get", "events", "-n", "evidence", "-o", "json").stdout)["items"]
    mine = [event["reason"] for event in events if event["involvedObject"]["name"] == "first"]
    assert "Signed" in mine
    assert len(mine) == len(set(mine)) <= 10


def test_nothing_is_written_after_the_end(bench: Bench) -> None:
    bench.run("quiet", fingerprintOnly=True)
    bench.finished("quiet")
    version = bench.get("quiet")["metadata"]["resourceVersion"]
    bench.kill_operator()
    bench.start_operator()
    bench.run("after-quiet", fingerprintOnly=True)
    bench.finished("after-quiet")
    assert bench.get("quiet")["metadata"]["resourceVersion"] == version


class Births(threading.Thread):
    """Collects the uids under which each of our objects has existed."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(daemon=True)
        self.bench = bench
        self.uids: dict[str, set[str]] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.05):
            for namespace in ("evidencerun-probes", "evidencerun-checks"):
                answer = self.bench.server.kubectl(
                    "get", "-n", namespace, "daemonsets,jobs,configmaps", "-o", "json",
                    "-l", "app.kubernetes.io/managed-by=evidencerun", check=False,
                )  # fmt: skip
                if answer.returncode:
                    continue
                for item in json.loads(answer.stdout)["items"]:
                    key = f"{item['kind']} {namespace}/{item['metadata']['name']}"
                    self.uids.setdefault(key, set()).add(item["metadata"]["uid"])


def test_an_operator_that_is_killed_again_and_again_repeats_nothing(bench: Bench) -> None:
    births = Births(bench)
    births.start()
    bench.run("killed")
    killed_in = set()
    for _ in range(12):
        bench.kill_operator()
        bench.start_operator()
        before = bench.status("killed")
        with contextlib.suppress(AssertionError):
            fakes.wait_until("a step", lambda: bench.status("killed") != before, seconds=8)  # noqa: B023
        killed_in.add(bench.status("killed").get("phase"))
        if bench.condition("killed", "Complete").get("status") == "True":
            break
    status = bench.finished("killed")
    births.over.set()
    births.join(10)
    assert status["verdict"] == "Passed"
    assert status["checks"]["attempts"] == 2
    assert {key: len(uids) for key, uids in births.uids.items() if len(uids) > 1} == {}
    assert len(births.uids) >= 4
    assert len(killed_in) >= 3
    assert bench.ours() == []


def test_a_fault_of_the_user_is_one_clear_message_and_creates_nothing(bench: Bench) -> None:
    bench.run("typo", checks={"only": ["expected-resource"]})
    status = bench.finished("typo", seconds=20)
    assert status["verdict"] == "Rejected"
    message = bench.condition("typo", "Accepted")["message"]
    assert "spec.checks.only" in message
    assert "did you mean expected-resources?" in message
    assert bench.ours() == []


def test_a_run_in_a_namespace_that_is_not_served_is_told_so(bench: Bench) -> None:
    bench.run("lost", namespace="elsewhere")
    status = bench.finished("lost", namespace="elsewhere", seconds=20)
    assert status["verdict"] == "Rejected"
    assert "found elsewhere, expected one of evidence" in bench.condition("lost", "Accepted", "elsewhere")["message"]


def test_a_config_map_that_comes_later_is_waited_for(bench: Bench) -> None:
    bench.run("gitops", recipe={"configMap": {"name": "late-recipe"}})
    fakes.wait_until(
        "the missing ConfigMap is named", lambda: "evidence/late-recipe" in bench.status("gitops").get("summary", "")
    )
    bench.server.kubectl("create", "configmap", "-n", "evidence", "late-recipe", f"--from-literal=recipe.yaml={RECIPE}")
    assert bench.finished("gitops")["verdict"] == "Passed"


def test_an_image_that_cannot_be_pulled_is_told_at_once_and_ends_the_attempt(bench: Bench) -> None:
    message = 'failed to resolve reference "registry.invalid/checks": not found'
    bench.kubelets.plans["node-agreement"] = fakes.PodPlan(waiting=("ErrImagePull", message))
    bench.run("no-image")
    fakes.wait_until(
        "the reason is in the summary",
        lambda: "node-agreement: ErrImagePull: failed to resolve" in bench.status("no-image").get("summary", ""),
        seconds=20,
    )
    status = bench.finished("no-image")
    assert status["checks"] | {"executed": 0} == status["checks"] | {"executed": 0, "passed": 1, "other": 1}
    uid = bench.get("no-image")["metadata"]["uid"]
    assert bench.store.runs[uid].endings[("node-agreement", 1)]["reason"] == "ErrImagePull"


def test_cancel_seals_what_there_is(bench: Bench) -> None:
    bench.kubelets.plans["node-agreement"] = fakes.PodPlan(leave_alone=True)
    bench.run("stopped")
    fakes.wait_until("one check is over", lambda: bench.status("stopped").get("checks", {}).get("passed") == 1)
    patch = json.dumps({"spec": {"cancel": True}})
    bench.server.kubectl("patch", "-n", "evidence", "evr", "stopped", "--type=merge", "-p", patch)
    status = bench.finished("stopped")
    assert status["verdict"] == "Cancelled"
    assert status["bundle"]["archiveDigest"]
    uid = bench.get("stopped")["metadata"]["uid"]
    assert bench.store.runs[uid].order["reason"] == "cancelled"
    assert bench.store.runs[uid].endings[("node-agreement", 1)]["reason"] == "Cancelled"
    assert bench.ours() == []


def test_a_policy_that_changes_meanwhile_does_not_matter(bench: Bench) -> None:
    bench.kubelets.plans["node-agreement"] = fakes.PodPlan(leave_alone=True)
    bench.run("frozen")
    fakes.wait_until("one check is over", lambda: bench.status("frozen").get("checks", {}).get("passed") == 1)
    catalog = bench.status("frozen")["plan"]["catalogDigest"]
    bench.apply(policy(catalog=[], limits={"maxNodes": 1}))
    bench.kubelets.plans.clear()
    status = bench.finished("frozen")
    assert status["verdict"] == "Passed"
    assert status["plan"]["catalogDigest"] == catalog


def test_a_deleted_run_is_swept_up_and_abandoned(bench: Bench) -> None:
    bench.kubelets.plans["node-agreement"] = fakes.PodPlan(leave_alone=True)
    bench.run("deleted")
    fakes.wait_until("it is checking", lambda: bench.status("deleted").get("checks", {}).get("attempts") == 2)
    uid = bench.get("deleted")["metadata"]["uid"]
    bench.server.kubectl("delete", "-n", "evidence", "evr", "deleted")
    fakes.wait_until("nothing is left", lambda: bench.ours() == [] and uid in bench.store.abandoned)


def test_a_run_deleted_while_the_operator_is_away_is_swept_up_too(bench: Bench) -> None:
    bench.kubelets.plans["node-agreement"] = fakes.PodPlan(leave_alone=True)
    bench.run("orphaned")
    fakes.wait_until("it is checking", lambda: bench.status("orphaned").get("checks", {}).get("attempts") == 2)
    uid = bench.get("orphaned")["metadata"]["uid"]
    bench.kill_operator()
    bench.server.kubectl("delete", "-n", "evidence", "evr", "orphaned")
    bench.start_operator()
    fakes.wait_until("nothing is left", lambda: bench.ours() == [] and uid in bench.store.abandoned)


def test_a_signature_that_comes_later_is_waited_for(bench: Bench) -> None:
    bench.store.signs = False
    bench.run("unsigned-yet")
    fakes.wait_until("the reason is told", lambda: "signing Secret" in bench.status("unsigned-yet").get("summary", ""))
    sealed = bench.condition("unsigned-yet", "Sealed")
    assert (sealed["status"], sealed["reason"]) == ("False", "SigningFails")
    bench.store.signs = True
    assert bench.finished("unsigned-yet")["verdict"] == "Passed"


def test_a_store_that_is_away_is_told_and_waited_for(bench: Bench) -> None:
    bench.kubelets.silent_nodes.add("fake-node-2")
    bench.run("no-store")
    fakes.wait_until("it is probing", lambda: bench.status("no-store").get("nodes", {}).get("reported") == 1)
    bench.store.up = False
    fakes.wait_until("it is told", lambda: bench.condition("no-store", "StoreUnavailable").get("status") == "True")
    assert "503" in bench.condition("no-store", "StoreUnavailable")["message"]
    bench.store.up = True
    bench.kubelets.silent_nodes.clear()
    status = bench.finished("no-store")
    assert status["verdict"] == "Passed"
    assert bench.condition("no-store", "StoreUnavailable")["status"] == "False"


def test_a_node_that_never_reports_is_named(bench: Bench) -> None:
    bench.apply(policy(limits={"probe": "5s"}))
    bench.kubelets.silent_nodes.add("fake-node-2")
    bench.run("straggler")
    status = bench.finished("straggler")
    assert status["nodes"]["missing"] == 1
    assert status["nodes"]["sample"][0]["name"] == "fake-node-2"
    uid = bench.get("straggler")["metadata"]["uid"]
    assert len(bench.store.runs[uid].stragglers) == 1


def test_delivery_reports_what_arrived_and_what_did_not(bench: Bench) -> None:
    result = {
        "delivered": [{"kind": "pvc", "ref": "evidence:runs/delivered.tar.gz"}],
        "errors": [{"kind": "oci", "code": "E6001", "what": "401 Unauthorized", "fix": "mend the Secret"}],
    }
    bench.kubelets.plans["deliver"] = fakes.PodPlan(exit_code=1, message=json.dumps(result))
    bench.run("delivered", deliver={"oci": {"repository": "registry.invalid/team/evidence"}})
    status = bench.finished("delivered")
    assert status["verdict"] == "Passed"
    assert status["bundle"]["delivered"] == [{"kind": "pvc", "ref": "evidence:runs/delivered.tar.gz"}]
    condition = bench.condition("delivered", "Delivered")
    assert (condition["status"], condition["reason"]) == ("False", "DeliveryFailed")
    assert "E6001 401 Unauthorized; fix: mend the Secret" in condition["message"]


def test_runs_take_their_turns(bench: Bench) -> None:
    bench.apply(policy(limits={"maxConcurrentRuns": 1}))
    bench.kubelets.plans["node-agreement"] = fakes.PodPlan(leave_alone=True)
    bench.run("turn-1")
    fakes.wait_until("the first works", lambda: bench.status("turn-1").get("plan"))
    bench.run("turn-2")
    fakes.wait_until("the second waits", lambda: "position 1 in the queue" in bench.status("turn-2").get("summary", ""))
    bench.kubelets.plans.clear()
    assert bench.finished("turn-1")["verdict"] == "Passed"
    assert bench.finished("turn-2")["verdict"] == "Passed"


def test_constraints_that_do_not_hold_end_without_checks(bench: Bench) -> None:
    bench.store.ready = False
    bench.run("not-ready")
    status = bench.finished("not-ready")
    assert status["verdict"] == "NotReady"
    assert status["checks"]["attempts"] == 0


def test_the_log_has_no_broken_pass(bench: Bench) -> None:
    assert "pass broke" not in bench.log()
    assert "Traceback" not in bench.log()
