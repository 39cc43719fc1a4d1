# SPDX-License-Identifier: Apache-2.0
"""node-agreement on recorded node reports: through the real store, sidecar, check and sealer, to a judged bundle.

The nodes of a cluster on one machine share a kernel, so there the check is always skipped. Here three Node objects with
boot ids of their own stand in a real API server, their probes' reports are handed in with real pod-bound tokens, and
the programs that run in a check's pod run as processes on what the store makes of them.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from store_site import (
    CHECKS,
    IMAGE,
    PROBES,
    RECIPE,
    REPOSITORY,
    RUNS,
    SYSTEM,
    FakeKubelet,
    Site,
    account,
    namespace,
    node_status,
    sealer,
    store_rights,
    wait_for,
    write_kubeconfig,
)

from evidencerun.attest.keys import verify_signature
from evidencerun.attest.sigstore_bundle import parse_bundle
from evidencerun.bundle.archive import read_archive
from evidencerun.canonical import sha256_prefixed
from evidencerun.recipe import load_recipe
from evidencerun.validation.storeapi import STORE_AUDIENCE, check_audience, probe_audience
from evidencerun.verify.duties import verify_unsigned

if TYPE_CHECKING:
    from tests.integration.control_plane import ControlPlane

NAMES = ("rec-1", "rec-2", "rec-3")
CHECK = "node-agreement"
KERNEL, OTHER_KERNEL = "6.1.0-28-amd64", "6.1.0-31-amd64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What one probe reported: a node of bare metal without accelerators."""

    boot_id: str
    kernel: str = KERNEL
    release: str = "12"

    def report(self, run_uid: str, node: str) -> bytes:
        """The report as the probe sends it."""

        def signal_of(name: str, raw: str, value: str = "") -> dict[str, str]:
            return {"id": name, "tier": "T2", "level": "L1", "raw": raw, "value": value or raw}

        sources = [{"name": name, "level": "L1", "state": "read"} for name in ("pci", "kernel", "os-release")]
        absent = {"level": "L1", "state": "absent", "reason": "no_driver: it is not loaded"}
        document = {
            "schema": "https://evidencerun.dev/schemas/node-report/v1",
            "runUid": run_uid,
            "nodeName": node,
            "bootId": self.boot_id,
            "probe": {"version": "0.1.0", "level": "L1", "access": "pciOnly"},
            "startedAt": "2026-11-24T00:00:00Z",
            "finishedAt": "2026-11-24T00:00:01Z",
            "sources": sources + [{"name": name, **absent} for name in ("nvidia-proc", "amdgpu-module")],
            "signals": {
                "accelerator": [signal_of("pci.device", "", "none")],
                "kernel": [signal_of("kernel.release", self.kernel)],
                "os": [signal_of("host.os-release", f"debian {self.release}", "debian")],
            },
            "measurements": {"OS.release": {"ID": "debian", "VERSION_ID": self.release}},
            "pci": [],
        }
        return gzip.compress(json.dumps(document).encode())


@pytest.fixture(scope="module")
def site(own_api_server: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A store as a process, three Node objects that a policy of their own selects, and a probe pod on each."""
    folder = tmp_path_factory.mktemp("recorded")
    api_server = own_api_server
    made = Site(plane=api_server, kubelet=FakeKubelet(folder), folder=folder, kubeconfig=folder / "store.kubeconfig")
    api_server.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    api_server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    made.apply(*[namespace(name) for name in (SYSTEM, PROBES, CHECKS, RUNS)])
    accounts = [(SYSTEM, f"evidence-{name}") for name in ("operator", "store", "sealer")]
    accounts += [(PROBES, "evidence-probe"), (CHECKS, "evidence-check-none")]
    public = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "evidence-public", "namespace": SYSTEM}}
    made.apply(*[account(*each) for each in accounts], *store_rights(), public, _policy())
    for name in NAMES:
        _add_node(made, name)
    _add_pod(made, SYSTEM, "rec-operator", "evidence-operator")
    _add_pod(made, SYSTEM, "sealer", "evidence-sealer")
    write_kubeconfig(made)
    made.start_store()
    yield made
    made.store.terminate()
    made.store.wait(30)
    # Other tests use the same API server and the same names.
    at_once = ("--force", "--grace-period=0", "--ignore-not-found")
    api_server.kubectl("delete", "pod", "-n", SYSTEM, "sealer", "rec-operator", *at_once)
    api_server.kubectl("delete", "pod", "-n", PROBES, *(f"probe-{name}" for name in NAMES), *at_once)
    api_server.kubectl("delete", "node", *NAMES)
    api_server.kubectl("delete", "evp", "recorded")


def _policy() -> dict[str, Any]:
    entry = {"name": CHECK, "phase": "deployment", "image": IMAGE, "mandatory": True}
    pool = {"name": "recorded", "nodeSelector": {"example.com/recorded": "true"}}
    return {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidencePolicy",
        "metadata": {"name": "recorded"},
        "spec": {"pools": [pool], "catalog": [entry]},
    }


def _add_node(site: Site, name: str) -> None:
    metadata = {"name": name, "labels": {"example.com/recorded": "true"}}
    site.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    status = json.loads(node_status(site))
    status["status"]["nodeInfo"] |= {"bootID": f"boot-{name}", "kernelVersion": KERNEL, "machineID": f"machine-{name}"}
    words = ("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))
    site.plane.kubectl(*words)
    _add_pod(site, PROBES, f"probe-{name}", "evidence-probe", node=name)


def _add_pod(site: Site, namespace: str, name: str, account: str, *, node: str = "rec-1", **metadata: Any) -> None:
    spec = {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "nodeName": node,
        "containers": [{"name": "validator", "image": IMAGE}],
    }
    meta = {"name": name, "namespace": namespace, **metadata}
    site.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def _plan(site: Site, name: str) -> dict[str, Any]:
    """A plan as the operator makes it, of a run and a policy that stand in the API."""
    spec = {"recipe": {"inline": RECIPE}, "policy": "recorded", "deadline": "15m"}
    kind = {"apiVersion": "evidencerun.dev/v1alpha1", "kind": "EvidenceRun"}
    site.apply({**kind, "metadata": {"name": name, "namespace": RUNS}, "spec": spec})
    run, policy = site.read("-n", RUNS, "evr", name), site.read("evp", "recorded")
    recipe = load_recipe(RECIPE.encode())
    version = json.loads(site.plane.kubectl("get", "--raw", "/version").stdout)
    authority = (site.plane.folder / "certificates" / "apiserver.crt").read_bytes()
    return {
        "schema": "https://evidencerun.dev/schemas/plan/v1",
        "run": {"uid": run["metadata"]["uid"], "name": name, "namespace": RUNS, "generation": 1},
        "spec": run["spec"],
        "policy": {key: policy["metadata"][key] for key in ("uid", "name", "generation")},
        "policySpec": policy["spec"],
        "recipeName": recipe.name,
        "recipeDigest": recipe.digest,
        "recipe": base64.b64encode(RECIPE.encode()).decode(),
        "cluster": {
            "caDigest": sha256_prefixed(authority),
            "server": {key: version[key] for key in ("gitVersion", "platform", "goVersion")},
        },
        "targetNodes": sorted((_target(site, node) for node in NAMES), key=lambda node: str(node["uid"])),
        "checks": [{"name": CHECK, "phase": "deployment", "entry": policy["spec"]["catalog"][0]}],
        "images": {"evidencerun": IMAGE, "probe": IMAGE},
        "nonce": "0" * 32,
        "frozenAt": "2099-01-01T00:00:00Z",
        "deadlineTime": "2099-01-01T00:15:00Z",
    }


def _target(site: Site, name: str) -> dict[str, Any]:
    node = site.read("node", name)
    renamed = {"bootID": "bootId", "machineID": "machineId", "systemUUID": "systemUuid"}
    info = node["status"]["nodeInfo"].items()
    facts = {renamed.get(key, key): value for key, value in info if key not in ("kubeProxyVersion", "swap")}
    return {"uid": node["metadata"]["uid"], "name": name, "pool": "recorded", **facts}


@dataclass(slots=True)
class Trial:
    """One run on the bench, from the reports to the sealed bundle."""

    site: Site
    name: str
    folder: Path
    uid: str = ""
    operator: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def report(self, machines: Sequence[Machine]) -> None:
        """Plan the run and hand in one report per node, each with the token of its own probe's pod."""
        plan = _plan(self.site, self.name)
        self.uid = plan["run"]["uid"]
        self.operator = self.site.pod_token(SYSTEM, "evidence-operator", "rec-operator", STORE_AUDIENCE)
        self._expect(201, "PUT", "", token=self.operator, body=plan)
        for node, machine in zip(NAMES, machines, strict=True):
            token = self.site.pod_token(PROBES, "evidence-probe", f"probe-{node}", probe_audience(self.uid))
            body = machine.report(self.uid, node)
            self._expect(201, "PUT", "/nodes/self", token=token, content=body, headers={"Content-Encoding": "gzip"})
        found = self._expect(200, "POST", "/evaluate", token=self.operator, body={"stragglers": {}})
        assert (found["reported"], found["missing"], found["ready"]) == (3, 0, True), found

    def check(self) -> dict[str, Any]:
        """Run sidecar and check as the two containers of a pod; return the attempt as the store judges it."""
        job = f"ev-{self.uid[:8]}-{CHECK}-1"
        news: dict[str, Any] = {"check": CHECK, "phase": "deployment", "attempt": 1, "jobName": job}
        self._expect(200, "POST", "/attempts", token=self.operator, body={**news, "state": "created"})
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": self.uid, "controller": True}
        labels = {"evidencerun.dev/run-uid": self.uid}
        _add_pod(self.site, CHECKS, job, "evidence-check-none", ownerReferences=[owner], labels=labels)
        pod = {"name": job, "uid": self.site.read("-n", CHECKS, "pod", job)["metadata"]["uid"]}
        token = self.site.pod_token(CHECKS, "evidence-check-none", job, check_audience(self.uid, CHECK, 1))
        code, output, message = self._two_containers(token)
        self.site.kubelet.write(job, output, end=True)
        terminated = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}
        terminated |= {"startedAt": "2026-11-24T00:00:00Z", "finishedAt": "2026-11-24T00:00:02Z"}
        container = {"name": "validator", "image": IMAGE, "imageID": IMAGE, "ready": False, "restartCount": 0}
        ended = {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": terminated}}]}
        self.site.pod_status(job, ended)
        return self._expect(200, "POST", "/attempts", token=self.operator, body={**news, "state": "ended", "pod": pod})

    def _two_containers(self, token: str) -> tuple[int, bytes, str]:
        data, results, term = self.folder / "data", self.folder / "results", self.folder / "termination-log"
        results.mkdir(parents=True)
        token_file, ready = self.folder / "token", self.folder / "ready"
        token_file.write_text(token, encoding="ascii")
        sidecar_env = {
            **os.environ,
            "EVIDENCERUN_STORE_URL": self.site.base.replace("127.0.0.1", "localhost"),
            "EVIDENCERUN_STORE_CA": (self.site.folder / "data/tls/authority/ca.crt").read_text(encoding="ascii"),
            "EVIDENCERUN_RUN_UID": self.uid,
            "EVIDENCERUN_CHECK": CHECK,
            "EVIDENCERUN_ATTEMPT": "1",
            "EVIDENCERUN_TOKEN_FILE": str(token_file),
            "EVIDENCERUN_DATA": str(data),
            "EVIDENCERUN_RESULTS": str(results),
            "EVIDENCERUN_READY_FILE": str(ready),
        }
        check_env = {
            **os.environ,
            "EVIDENCERUN_NODES_PATH": str(data / "nodes/nodes.json"),
            "EVIDENCERUN_RESULTS": str(results),
            "EVIDENCERUN_TERMINATION_LOG": str(term),
        }
        sidecar = subprocess.Popen([sys.executable, "-m", "evidencerun.sidecar.main"], env=sidecar_env)
        try:
            wait_for("the sidecar has fetched the inputs", ready.exists)
            words = [sys.executable, "-m", "evidencerun.checks.main", CHECK]
            done = subprocess.run(words, env=check_env, capture_output=True, timeout=60)
        finally:
            sidecar.send_signal(signal.SIGTERM)
            assert sidecar.wait(30) == 0, "the sidecar has brought everything"
        self.details = json.loads((results / "details.json").read_bytes())
        return done.returncode, done.stdout, term.read_text(encoding="utf-8") if term.exists() else ""

    def seal(self) -> dict[str, bytes]:
        """Seal the run, verify the signature with the published key, and return the bundle's files."""
        self._expect(202, "POST", "/seal", token=self.operator, body={"reason": "finished"})
        with sealer(self.site):
            bundle = wait_for("the bundle is sealed", self._sealed)
        archive = self.site.call("GET", f"/v1/bundles/{bundle['archiveDigest']}").content
        files: dict[str, bytes] = read_archive(archive)
        attestation = parse_bundle(files.pop("attestation.intoto.jsonl"))
        verify_unsigned(files)
        public = self.site.read("-n", SYSTEM, "configmap", "evidence-public")["data"]["signing.pub"]
        verify_signature(public.encode(), payload=attestation.payload, signature=attestation.signature)
        return files

    def _sealed(self) -> Any:
        view = self.site.call("GET", f"/v1/runs/{self.uid}", token=self.operator).json()
        return view["bundle"] if view["seal"] == "sealed" else None

    def _expect(self, status: int, method: str, path: str, **options: Any) -> Any:
        found = self.site.call(method, f"/v1/runs/{self.uid}{path}", **options)
        assert found.status_code == status, found.text
        return found.json()


@pytest.fixture
def trial(site: Site, tmp_path: Path) -> Iterator[Callable[[Sequence[Machine]], Trial]]:
    """trial(machines) is a run whose probes have reported these."""
    made: list[str] = []

    def begin(machines: Sequence[Machine]) -> Trial:
        name = f"recorded-{time.monotonic_ns()}"
        made.append(name)
        found = Trial(site=site, name=name, folder=tmp_path)
        found.report(machines)
        return found

    yield begin
    for name in made:
        site.plane.kubectl("delete", "evr", "-n", RUNS, name)


def _spread(details: Mapping[str, Any], aspect: str) -> dict[str, int]:
    return {item["value"]: item["nodes"] for item in details["items"] if item["aspect"] == aspect}


def _verdict(files: Mapping[str, bytes]) -> tuple[str, str, str]:
    record = json.loads(files["run.json"])
    (check,) = record["checks"]
    return record["verdict"], check["status"], check["message"]


def test_three_machines_that_agree_pass(trial: Any) -> None:
    run = trial([Machine(boot_id=f"boot-{name}") for name in NAMES])
    attempt = run.check()
    assert (attempt["status"], attempt["reason"]) == ("passed", ""), attempt
    assert "details.json" in attempt["results"], "the sidecar brought what the check left"
    assert _spread(run.details, "kernel") == {KERNEL: 3}
    verdict, status, message = _verdict(run.seal())
    assert (verdict, status) == ("Passed", "passed")
    assert "3 nodes on 3 machines agree on kernel, os, driver, kubelet, runtime" in message


def test_three_machines_that_differ_fail_with_the_values(trial: Any) -> None:
    machines = [Machine(boot_id=f"boot-{name}") for name in NAMES[:2]]
    run = trial([*machines, Machine(boot_id="boot-rec-3", kernel=OTHER_KERNEL, release="13")])
    attempt = run.check()
    assert attempt["status"] == "failed", attempt
    assert _spread(run.details, "kernel") == {KERNEL: 2, OTHER_KERNEL: 1}
    assert _spread(run.details, "os") == {"debian 12": 2, "debian 13": 1}
    assert _spread(run.details, "driver") == {"none": 3}
    files = run.seal()
    verdict, status, message = _verdict(files)
    assert (verdict, status) == ("ChecksFailed", "failed")
    assert "the nodes disagree on 2 of 5 aspects" in message
    assert f"kernel: {KERNEL} on 2 (" in message
    assert f"{OTHER_KERNEL} on 1 (" in message
    assert "debian 13 on 1 (" in message
    for name in NAMES:
        assert not [path for path, data in files.items() if name.encode() in data], "names do not leave the cluster"


def test_nodes_with_one_boot_id_are_one_machine_and_skip(trial: Any) -> None:
    run = trial([Machine(boot_id="boot-shared")] * 3)
    attempt = run.check()
    assert (attempt["status"], attempt["reason"]) == ("skipped", "stated"), attempt
    verdict, status, message = _verdict(run.seal())
    assert (verdict, status) == ("Incomplete", "skipped")
    assert message == "single-machine"
