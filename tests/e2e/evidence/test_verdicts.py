# SPDX-License-Identifier: Apache-2.0
"""Every verdict but Passed: a signed bundle that says why, and exit codes that tell them apart.

Nothing passes by doing nothing: a run that was narrowed, that had nothing to check or whose checks nobody offers is
Incomplete, and the bundle names the reason.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from evidence_lab import DEMO_WEB, REPOSITORY, RUNS, Evidence, recipe

EVR = Path(sys.executable).with_name("evr")
BOTH = {"deployment": ["expected-resources", "node-agreement"]}
BARE = {"name": "demo-web", "type": "Helm", "namespace": "evidence-demo"}
LACKING = {"deployment": ["expected-resources", "operator-health"]}
SPECS: dict[str, dict[str, Any]] = {
    "fingerprint": {"fingerprintOnly": True},
    "narrowed": {"checks": {"skip": ["node-agreement"]}},
    "lacking": {"recipe": recipe(components=[DEMO_WEB], checks=LACKING)},
    "nothing-deployed": {"recipe": recipe(checks=BOTH)},
    "nothing-checked": {"recipe": recipe(components=[DEMO_WEB])},
    "bare": {"recipe": recipe(components=[BARE], checks=BOTH)},
    "late": {"deadline": "1s"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A finished run: the object, its run record, and what `evr verify` with the key says of the bundle."""

    run: Mapping[str, Any]
    record: Mapping[str, Any]
    exit_code: int
    report: str

    @property
    def status(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.run["status"]
        return found

    def check(self, name: str) -> tuple[str, str]:
        """Status and reason of a check in the bundle; of a skip the reason that the check itself stated."""
        (found,) = (check for check in self.record["checks"] if check["name"] == name)
        return found["status"], found["extra"].get("skipReason") or found["reason"]


@pytest.fixture(scope="module")
def lab(installed: Any) -> Iterator[Evidence]:
    """The product, and the runs of this file."""
    made = Evidence(cluster=installed)
    yield made
    for name in made.made:
        installed.kubectl("delete", "evr", "-n", RUNS, name, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def begun(lab: Evidence) -> dict[str, str]:
    """Key of SPECS to the name of its run; all are begun at once and run side by side."""
    return {key: start(lab, prefix=key, **spec) for key, spec in SPECS.items()}


@pytest.fixture
def end(lab: Evidence, begun: dict[str, str], tmp_path: Path):
    """end(key or name) waits for a run's end and judges its bundle as a reviewer would."""

    def ended(key: str) -> Ended:
        evidence, name = lab, begun.get(key, key)
        run = evidence.finished(name, timeout=300)
        (condition,) = (c for c in run["status"]["conditions"] if c["type"] == "Sealed")
        assert condition["status"] == "True", "every verdict is signed"
        archive, key = tmp_path / "bundle.tar.gz", tmp_path / "evidence.pub"
        archive.write_bytes(evidence.archive(run))
        key.write_bytes(evidence.public_key())
        done = evidence.verify(archive, key)
        record = json.loads(evidence.bundle(run)["run.json"])
        assert record["verdict"] == run["status"]["verdict"]
        return Ended(run=run, record=record, exit_code=done.returncode, report=done.stdout + done.stderr)

    return ended


def start(lab: Evidence, *, prefix: str, **spec: Any) -> str:
    spec = {"recipe": recipe(components=[DEMO_WEB], checks=BOTH), "deadline": "10m", **spec}
    return lab.start({**spec, "recipe": {"inline": spec["recipe"]}}, prefix=prefix)


def test_a_component_that_is_not_installed(evidence: Evidence, end: Any, tmp_path: Path):
    """The shipped example, as a newcomer runs it."""
    document = yaml.safe_load((REPOSITORY / "deploy/examples/checks-failed.yaml").read_text(encoding="utf-8"))
    name = document["metadata"]["name"] = f"checks-failed-{secrets.token_hex(3)}"
    evidence.made.append(name)
    manifest = tmp_path / "run.yaml"
    manifest.write_text(yaml.safe_dump(document), encoding="utf-8")
    words = [EVR, "run", "-f", manifest, "--wait", "--timeout", "5m"]
    done = subprocess.run(words, capture_output=True, text=True, env=evidence.cluster.environment, timeout=330)
    assert done.returncode == 10, done.stderr
    assert "ChecksFailed" in done.stderr
    ended = end(name)
    assert ended.status["verdict"] == "ChecksFailed"
    assert ended.exit_code == 10, ended.report
    assert ended.check("expected-resources")[0] == "failed"
    assert ended.check("node-agreement") == ("skipped", "single-machine")
    assert "demo-missing" in ended.report
    assert ended.status["checks"]["failed"] == 1
    step = ended.status["nextAction"]
    fetch = ended.status["bundle"]["fetch"]
    assert step.startswith(f"{fetch} && kubectl delete -n {RUNS} evr/{name}   # mend this: ")
    assert "check expected-resources failed" in step


@pytest.mark.data
def test_a_recipe_for_hardware_that_is_not_there(evidence: Evidence, end: Any, test_data: Path):
    """A published recipe for H100 nodes on AKS: its constraints on the operating system do not hold here."""
    text = (test_data / "aicr/v0.11.1/examples/recipes/aks-training.yaml").read_text(encoding="utf-8")
    name = f"h100-{secrets.token_hex(3)}"
    metadata = {"name": name, "namespace": RUNS}
    evidence.cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"recipe.yaml": text}}
    )
    try:
        run = evidence.start({"recipe": {"configMap": {"name": name}}, "deadline": "10m"}, prefix="h100")
        ended = end(run)
    finally:
        evidence.cluster.kubectl("delete", "configmap", "-n", RUNS, name)
    assert ended.status["verdict"] == "NotReady"
    assert ended.status["match"]["overall"] == "mismatched"
    assert ended.exit_code == 11, ended.report
    assert [name for name in evidence.created(ended.run["metadata"]["uid"]) if name.startswith("jobs/")] == []
    constraints = {c["name"]: c for c in ended.record["readiness"]["constraints"]}
    assert constraints["OS.release.ID"]["outcome"] == "violated"
    assert "OS.release.ID" in ended.report
    assert "accelerator" in ended.report


def test_the_fingerprint_only(end: Any):
    ended = end("fingerprint")
    assert ended.status["verdict"] == "FingerprintOnly"
    assert ended.exit_code == 11, ended.report
    assert "FingerprintOnly" in ended.report
    assert ended.status["checks"].get("declared", 0) == 0


def test_a_run_that_skips_a_check_says_so(end: Any):
    ended = end("narrowed")
    assert ended.status["verdict"] == "Incomplete"
    assert ended.exit_code == 11, ended.report
    assert ended.check("node-agreement") == ("skipped", "excluded")
    assert ended.check("expected-resources")[0] == "passed"
    assert "narrowed" in ended.report
    assert "node-agreement: excluded by the run" in ended.report


def test_a_check_that_the_catalog_lacks(end: Any):
    ended = end("lacking")
    assert ended.status["verdict"] == "Incomplete"
    assert ended.exit_code == 11, ended.report
    assert ended.check("operator-health") == ("other", "not-in-catalog")
    assert ended.check("expected-resources")[0] == "passed"
    assert "not-in-catalog" in ended.report
    counts = ended.status["checks"]
    assert (counts["declared"], counts["passed"], counts["other"]) == (2, 1, 1)


def test_a_recipe_that_deploys_nothing_never_passes(end: Any):
    ended = end("nothing-deployed")
    assert ended.status["verdict"] == "Incomplete"
    assert ended.exit_code == 11, ended.report
    assert ended.check("expected-resources") == ("skipped", "nothing-declared")
    assert "no check passed" in ended.report


def test_a_recipe_without_checks_never_passes(end: Any):
    ended = end("nothing-checked")
    assert ended.status["verdict"] == "Incomplete"
    assert ended.exit_code == 11, ended.report
    assert "no check is declared" in ended.report


def test_an_enabled_component_without_expected_resources_does_not_pass(end: Any):
    ended = end("bare")
    assert ended.status["verdict"] != "Passed"
    assert ended.check("expected-resources")[0] != "passed"
    assert ended.exit_code in (10, 11), ended.report


def test_cancel_in_the_middle_is_signed(evidence: Evidence, end: Any):
    name = start(evidence, prefix="cancelled")
    evidence.until_phase(name, "Probing", "Evaluating", "Checking")
    evidence.cluster.kubectl("patch", "evr", "-n", RUNS, name, "--type=merge", "-p", '{"spec":{"cancel":true}}')
    ended = end(name)
    assert ended.status["verdict"] == "Cancelled"
    assert ended.exit_code == 11, ended.report
    assert "cancelled" in ended.report.lower()
    assert ended.record["checks"], "what was declared stands in the record"
    nodes = ended.status["nodes"]
    reported = next(c for c in ended.status["conditions"] if c["type"] == "NodesReported")
    assert (reported["status"] == "True") == (nodes["reported"] == nodes["targeted"]), reported["message"]
    back = evidence.cluster.kubectl(
        "patch", "evr", "-n", RUNS, name, "--type=merge", "-p", '{"spec":{"cancel":false}}', check=False
    )
    assert "spec.cancel goes from false to true only" in back.stderr


def test_a_deadline_that_is_too_short_is_named(end: Any):
    ended = end("late")
    assert ended.status["verdict"] == "Incomplete"
    assert ended.exit_code == 11, ended.report
    assert "deadline" in ended.report
    finished = next(c for c in ended.status["conditions"] if c["type"] == "ChecksFinished")
    assert finished["reason"] == "DeadlineExceeded"
    assert ended.status["checks"]["passed"] == 0
