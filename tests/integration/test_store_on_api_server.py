# SPDX-License-Identifier: Apache-2.0
"""Store and sealer as real processes over TLS, in front of a real API server, with the rights that the chart grants.

Tokens are bound to real Pod objects on real Node objects. There is no node: a fake kubelet serves logs in the kubelet's
way (the API server proxies them), and the test writes the pods' statuses.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from store_site import (
    CHECKS,
    IMAGE,
    PROBES,
    RUNS,
    SYSTEM,
    FakeKubelet,
    Site,
    account,
    namespace,
    node,
    node_status,
    plan_of,
    report_of,
    sealer,
    store_rights,
    wait_for,
    write_kubeconfig,
)

from evidencerun.attest.keys import verify_signature
from evidencerun.attest.sigstore_bundle import parse_bundle
from evidencerun.bundle.archive import read_archive
from evidencerun.canonical import sha256_prefixed
from evidencerun.validation.storeapi import STORE_AUDIENCE, check_audience, probe_audience
from evidencerun.verify.duties import verify_unsigned

if TYPE_CHECKING:
    from tests.integration.control_plane import ControlPlane

REPOSITORY = Path(__file__).resolve().parents[2]
CHECK = "node-agreement"


@pytest.fixture(scope="module")
def site(own_api_server: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """CRDs, accounts, rights, one node, and the pods to whom tokens are bound."""
    folder = tmp_path_factory.mktemp("store")
    api_server = own_api_server
    made = Site(plane=api_server, kubelet=FakeKubelet(folder), folder=folder, kubeconfig=folder / "store.kubeconfig")
    api_server.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    api_server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    made.apply(*[namespace(name) for name in (SYSTEM, PROBES, CHECKS, RUNS)])
    accounts = [(SYSTEM, f"evidence-{name}") for name in ("operator", "store", "sealer")]
    accounts += [(PROBES, "evidence-probe"), (CHECKS, "evidence-check-none")]
    public = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "evidence-public", "namespace": SYSTEM}}
    made.apply(*[account(*pair) for pair in accounts], *store_rights(), public, node())
    api_server.kubectl("patch", "node", "node-1", "--subresource=status", "--type=merge", "-p", node_status(made))
    made.add_pod(SYSTEM, "operator", "evidence-operator")
    made.add_pod(SYSTEM, "sealer", "evidence-sealer")
    made.add_pod(PROBES, "probe", "evidence-probe")
    write_kubeconfig(made)
    yield made
    if made.store is not None and made.store.poll() is None:
        made.store.terminate()
        made.store.wait(30)


def test_a_run_through_store_and_sealer(site: Site) -> None:
    """The store is killed between all steps; its answers stay."""
    site.start_store()
    operator = site.pod_token(SYSTEM, "evidence-operator", "operator", STORE_AUDIENCE)
    plan = plan_of(site)
    run = f"/v1/runs/{plan['run']['uid']}"
    _plan_is_checked(site, run, plan, operator)
    _reports_come_from_their_node(site, run, plan["run"]["uid"], operator)
    before = site.call("GET", run, token=operator).json()
    site.restart_store()
    assert site.call("GET", run, token=operator).json() == before
    evaluation = site.call("POST", f"{run}/evaluate", token=operator, body={"stragglers": {}}).json()
    assert (evaluation["reported"], evaluation["missing"]) == (1, 0), evaluation
    _check_runs(site, run, plan["run"]["uid"], operator)
    sealing = site.call("POST", f"{run}/seal", token=operator, body={"reason": "finished"})
    assert (sealing.status_code, sealing.json()["seal"]) == (202, "queued"), sealing.text
    site.restart_store()
    bundle = _sealed_bundle(site, run, operator)
    _bundle_holds(site, bundle)
    archive = site.call("GET", f"/v1/bundles/{bundle['archiveDigest']}").content
    assert site.call("POST", f"{run}/close", token=operator).json()["closed"] is True
    assert not (site.run_folder(plan["run"]["uid"]) / "nodes").exists()
    assert site.call("GET", f"/v1/bundles/{bundle['archiveDigest']}").content == archive


def _plan_is_checked(site: Site, run: str, plan: dict[str, Any], operator: str) -> None:
    """A plan that differs from the API's objects is refused with its differences, and nothing is stored."""
    wrong = {**plan, "policy": {**plan["policy"], "generation": 99}, "targetNodes": []}
    refused = site.call("PUT", run, token=operator, body=wrong)
    assert refused.status_code == 409, refused.text
    assert "policy: the generation is" in refused.text
    assert "node-1: is left out of the plan" in refused.text
    assert site.call("GET", run, token=operator).status_code == 404
    assert site.call("PUT", run, token=operator, body=plan).status_code == 201
    assert site.call("PUT", run, token=operator, body=plan).status_code == 200


def _reports_come_from_their_node(site: Site, run: str, uid: str, operator: str) -> None:
    """Real tokens of another account, of another run, and of no pod are refused; the right one is not."""
    probe = site.pod_token(PROBES, "evidence-probe", "probe", probe_audience(uid))
    other = site.pod_token(PROBES, "evidence-probe", "probe", probe_audience(uid[::-1]))
    words = ("create", "token", "evidence-probe", "-n", PROBES, "--audience", probe_audience(uid))
    loose = site.plane.kubectl(*words).stdout.strip()
    body, headers = gzip.compress(report_of(uid)), {"Content-Encoding": "gzip"}
    nodes = f"{run}/nodes/self"
    for token, expected in ((operator, 401), (other, 401), (loose, 403), (probe, 201), (probe, 200)):
        answer = site.call("PUT", nodes, token=token, content=body, headers=headers)
        assert answer.status_code == expected, answer.text
    assert site.call("HEAD", nodes, token=probe).status_code == 200


def _check_runs(site: Site, run: str, uid: str, operator: str) -> None:
    """The ledger comes before the Job; the log is whole although the store was away while it was written."""
    news: dict[str, Any] = {"check": CHECK, "phase": "deployment", "attempt": 1, "jobName": f"ev-{uid[:8]}-{CHECK}-1"}
    path = f"{run}/attempts"
    assert site.call("POST", path, token=operator, body={**news, "state": "created"}).status_code == 200
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": news["jobName"], "uid": uid, "controller": True}
    site.add_pod(CHECKS, "check", "evidence-check-none", owner=owner, run_uid=uid)
    token = site.pod_token(CHECKS, "evidence-check-none", "check", check_audience(uid, CHECK, 1))
    snapshot = site.call("GET", f"{run}/inputs/snapshot.yaml", token=token)
    assert snapshot.status_code == 200, snapshot.text
    assert b"kind: Snapshot" in snapshot.content

    site.kubelet.write("check", b"line 1\n")
    container = {"name": "validator", "image": IMAGE, "imageID": "", "ready": True, "restartCount": 0}
    state = {"running": {"startedAt": "2026-11-24T00:00:00Z"}}
    site.pod_status("check", {"phase": "Running", "containerStatuses": [{**container, "state": state}]})
    pod = {"name": "check", "uid": site.read("-n", CHECKS, "pod", "check")["metadata"]["uid"]}
    running = site.call("POST", path, token=operator, body={**news, "state": "running", "pod": pod})
    assert running.json()["state"] == "running", running.text
    log = site.run_folder(uid) / f"attempts/{CHECK}.1/log-0"
    wait_for("the log is followed", lambda: log.exists() and log.read_bytes() == b"line 1\n")

    site.kill_store()
    site.kubelet.write("check", b"line 2, while the store was away\n")
    site.start_store()
    wait_for("the log is taken up again", lambda: b"line 2" in log.read_bytes())
    result = site.call("PUT", f"{run}/checks/{CHECK}/1/note.txt", token=token, content=b"seen")
    assert result.status_code == 201, result.text
    site.kubelet.write("check", b"RESULT: fine\n", end=True)
    times = {"startedAt": "2026-11-24T00:00:00Z", "finishedAt": "2026-11-24T00:00:02Z"}
    over = {"terminated": {"exitCode": 0, "reason": "Completed", **times}}
    ended = {**container, "imageID": IMAGE, "ready": False, "state": over}
    site.pod_status("check", {"phase": "Succeeded", "containerStatuses": [ended]})
    view = site.call("POST", path, token=operator, body={**news, "state": "ended", "pod": pod}).json()
    assert (view["status"], view["logComplete"], view["results"]) == ("passed", True, ["note.txt"]), view
    assert log.read_bytes() == b"line 1\nline 2, while the store was away\nRESULT: fine\n"


def _sealed_bundle(site: Site, run: str, operator: str) -> dict[str, Any]:
    """Let a sealer process sign; return the bundle's view."""
    with sealer(site):
        look = lambda: (v := site.call("GET", run, token=operator).json())["seal"] == "sealed" and v  # noqa: E731
        found: dict[str, Any] = wait_for("the bundle is sealed", look)["bundle"]
    return found


def _bundle_holds(site: Site, bundle: dict[str, Any]) -> None:
    """The archive verifies with the key in evidence-public alone, and the logs are those that were followed."""
    archive = site.call("GET", f"/v1/bundles/{bundle['archiveDigest']}")
    assert sha256_prefixed(archive.content) == bundle["archiveDigest"]
    files = read_archive(archive.content)
    attestation = parse_bundle(files.pop("attestation.intoto.jsonl"))
    verify_unsigned(files)
    public = site.read("-n", SYSTEM, "configmap", "evidence-public")["data"]
    verify_signature(public["signing.pub"].encode(), payload=attestation.payload, signature=attestation.signature)
    assert public["ca.crt"] == site.authority.read_text()
    logs = read_archive(site.call("GET", f"/v1/logs/{bundle['logsKey']}").content)
    assert any(b"line 2, while the store was away" in data for data in logs.values())
