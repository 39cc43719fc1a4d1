# SPDX-License-Identifier: Apache-2.0
"""Bad input: one message that names field, found, expected and what to do; nothing half-created, nothing lost."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
import yaml
from evidence_lab import RUNS, Evidence, recipe

GOOD = recipe(checks={"deployment": ["node-agreement"]})
FINGERPRINT = {"fingerprintOnly": True}
NEVER_COMES = "spec.recipe.configMap: ConfigMap evidence/{name} does not exist"


def manifest(spec: Mapping[str, Any], name: str = "refused") -> dict[str, Any]:
    return {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidenceRun",
        "metadata": {"name": name, "namespace": RUNS},
        "spec": dict(spec),
    }


REFUSED = {
    "two-sources": ({"recipe": {"inline": GOOD, "configMap": {"name": "x"}}}, ["spec.recipe", "found both", "give"]),
    "no-source": ({"recipe": {}}, ["spec.recipe", "found neither", "give exactly one"]),
    "inline-200-kib": (
        {"recipe": {"inline": GOOD + "# padding\n" * 20_000}},
        ["spec.recipe.inline", "131072", "spec.recipe.configMap"],
    ),
    "misspelt-field": ({"recipe": {"inline": GOOD}, "dedline": "5m"}, ['unknown field "spec.dedline"']),
    "unknown-phase": ({"recipe": {"inline": GOOD}, "phases": ["deploy"]}, ["spec.phases[0]", '"deployment"']),
    "no-destination": ({"recipe": {"inline": GOOD}, "deliver": {"logs": True}}, ["spec.deliver", "give pvc, oci"]),
}


@pytest.fixture(scope="module")
def lab(installed: Any) -> Iterator[Evidence]:
    """The product, and the runs of this file that are begun together."""
    made = Evidence(cluster=installed)
    yield made
    for name in made.made:
        installed.kubectl("delete", "evr", "-n", RUNS, name, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module", autouse=True)
def nowhere(lab: Evidence) -> str:
    """A run whose ConfigMap never comes, begun before all other tests of this file; the last one looks at its end."""
    return lab.start({"recipe": {"configMap": {"name": "nowhere"}}}, prefix="nowhere")


@pytest.mark.parametrize("name", REFUSED)
def test_the_api_server_refuses_it(evidence: Evidence, name: str):
    spec, words = REFUSED[name]
    done = evidence.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest(spec, name)), check=False)
    assert done.returncode == 1
    assert [word for word in words if word not in done.stderr] == []
    assert len(done.stderr) < 1000, "a message that nobody reads"
    assert evidence.cluster.kubectl("get", "evr", "-n", RUNS, name, check=False).returncode == 1


def without(key: str) -> str:
    document = yaml.safe_load(GOOD)
    del document[key]
    return str(yaml.safe_dump(document))


REJECTED = {
    "recipe-does-not-parse": (
        {"recipe": {"inline": "apiVersion: aicr.run/v1\nkind: RecipeResult\ncriteria: {service: any\n"}},
        "InvalidRecipe",
        ["spec.recipe.inline, line 4", "no valid YAML"],
    ),
    "wrong-api-version": (
        {"recipe": {"inline": GOOD.replace("aicr.run/v1", "aicr.run/v7", 1)}},
        "InvalidRecipe",
        ["spec.recipe.inline, line 1", "apiVersion", "'aicr.run/v7'", "aicr.run/v1,", "fix: use aicr.run/v1"],
    ),
    "no-kind": ({"recipe": {"inline": without("kind")}}, "InvalidRecipe", ["spec.recipe.inline", "kind"]),
    "unknown-check": (
        {"recipe": {"inline": GOOD}, "checks": {"skip": ["node-agreemnt"]}},
        "UnknownCheck",
        ["spec.checks.skip", "node-agreemnt", "did you mean node-agreement?"],
    ),
    "check-not-declared": (
        {"recipe": {"inline": GOOD}, "checks": {"only": ["expected-resources"]}},
        "CheckNotDeclared",
        ["spec.checks.only", "expected-resources", "declared: node-agreement"],
    ),
    "too-many-nodes": (
        {"recipe": {"inline": GOOD}, "target": {"maxNodes": 1}},
        "TooManyNodes",
        ["spec.target.maxNodes", "found {nodes} target nodes", "expected at most 1"],
    ),
    "unknown-pool": (
        {"recipe": {"inline": GOOD}, "target": {"pools": ["nvidea"]}},
        "UnknownPool",
        ["spec.target.pools", "nvidea", "did you mean nvidia?"],
    ),
    "pool-without-nodes": (
        {"recipe": {"inline": GOOD}, "target": {"pools": ["nvidia"]}},
        "NoTargetNodes",
        ["spec.target.pools", "none of the {nodes} nodes", "nvidia"],
    ),
    "deadline-too-long": (
        {"recipe": {"inline": GOOD}, "deadline": "100h"},
        "DeadlineTooLong",
        ["spec.deadline", "found 100h", "expected at most 6h"],
    ),
}


@pytest.fixture(scope="module")
def rejected(lab: Evidence) -> dict[str, str]:
    """Key of REJECTED to the name of its run; all are begun at once."""
    return {key: lab.start(spec, prefix="rejected") for key, (spec, _, _) in REJECTED.items()}


@pytest.mark.parametrize("name", REJECTED)
def test_the_operator_rejects_it(lab: Evidence, rejected: dict[str, str], name: str):
    _, reason, words = REJECTED[name]
    nodes = len(lab.cluster.nodes())
    run = lab.finished(rejected[name], timeout=60)
    assert_rejected(lab, run, reason, [word.format(nodes=nodes) for word in words])


def assert_rejected(evidence: Evidence, run: Mapping[str, Any], reason: str, words: list[str]) -> None:
    """The reason stands in status once, in the same words wherever people look; nothing was created."""
    status, uid = run["status"], run["metadata"]["uid"]
    accepted = next(c for c in status["conditions"] if c["type"] == "Accepted")
    assert (status["verdict"], status["phase"]) == ("Rejected", "Finished")
    assert (accepted["status"], accepted["reason"]) == ("False", reason)
    assert [word for word in words if word not in accepted["message"]] == []
    assert status["summary"] == accepted["message"][:512]
    assert status["nextAction"].startswith("kubectl ")
    assert evidence.created(uid) == {}
    assert evidence.leftovers(uid) == []
    assert "bundle" not in status


def test_an_event_tells_it_too(evidence: Evidence):
    name = evidence.start({"recipe": {"inline": "kind: Nothing\n"}}, prefix="rejected")
    evidence.finished(name, timeout=60)

    def look() -> list[str]:
        events = evidence.cluster.get("events", "-n", RUNS, "--field-selector", f"involvedObject.name={name}")["items"]
        return [event["message"] for event in events if event["reason"] == "InvalidRecipe"]

    (message,) = evidence.cluster.wait_until("the event is there", look, timeout=20)
    assert "spec.recipe.inline" in message


def test_a_run_in_a_namespace_that_is_not_allowed_says_so(evidence: Evidence, namespace: str):
    name = evidence.start({"recipe": {"inline": GOOD}}, prefix="elsewhere", namespace=namespace)
    get = ("evr", "-n", namespace, name)
    done = evidence.cluster.wait_until(
        "it is rejected",
        lambda: next((r for r in [evidence.cluster.get(*get)] if r.get("status", {}).get("verdict")), None),
        timeout=60,
    )
    words = ["metadata.namespace", f"found {namespace}", f"expected one of {RUNS}", "runNamespaces"]
    assert_rejected(evidence, done, "NamespaceNotAllowed", words)
    shown = evidence.cluster.kubectl("get", *get).stdout
    assert "Rejected" in shown, "kubectl get must not look as if it worked"
    evidence.cluster.kubectl("delete", *get)


def waits(evidence: Evidence, name: str, reason: str) -> str:
    """Return what the run says while it waits: not rejected yet, and nothing created."""
    evidence.cluster.wait_until(
        f"{name} says {reason}", lambda: evidence.condition(name, "Accepted").get("reason") == reason, timeout=30
    )
    run = evidence.get(name)
    assert run["status"]["phase"] == "Pending"
    assert not run["status"].get("verdict")
    assert evidence.created(run["metadata"]["uid"]) == {}
    return str(evidence.condition(name, "Accepted")["message"])


def goes_on(evidence: Evidence, name: str) -> None:
    run = evidence.finished(name)
    assert run["status"]["verdict"] == "FingerprintOnly", run["status"]["summary"]
    assert evidence.condition(name, "Accepted")["status"] == "True"


@pytest.fixture
def own_policy(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """A policy like the default one under a name of its own, not applied yet; deleted afterwards."""
    spec = evidence.cluster.get("evp", "default")["spec"]
    name = f"own-{secrets.token_hex(3)}"
    yield {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidencePolicy",
        "metadata": {"name": name},
        "spec": spec,
    }
    evidence.cluster.kubectl("delete", "evp", name, "--ignore-not-found")


@pytest.fixture
def own_config_map(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """A ConfigMap with a recipe, not applied yet; deleted afterwards."""
    name = f"recipe-{secrets.token_hex(3)}"
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": RUNS},
        "data": {"recipe.yaml": GOOD},
    }
    evidence.cluster.kubectl("delete", "configmap", "-n", RUNS, name, "--ignore-not-found")


def test_what_is_missing_may_come_later(evidence: Evidence, own_policy: dict[str, Any], own_config_map: dict[str, Any]):
    """Policy and ConfigMap may be applied after the run: GitOps applies in any order."""
    policy, config_map = own_policy["metadata"]["name"], own_config_map["metadata"]["name"]
    first = evidence.start({"recipe": {"inline": GOOD}, "policy": policy, **FINGERPRINT}, prefix="early")
    second = evidence.start({"recipe": {"configMap": {"name": config_map}}, **FINGERPRINT}, prefix="early")
    said = waits(evidence, first, "PolicyNotFound")
    assert f"spec.policy: found {policy}" in said
    assert "waiting up to 120 s" in said
    said = waits(evidence, second, "RecipeNotFound")
    assert NEVER_COMES.format(name=config_map) in said
    fix = evidence.status(second)["nextAction"]
    assert fix.startswith(f"kubectl create -n {RUNS} configmap {config_map} --from-file=recipe.yaml=")
    evidence.cluster.apply(own_policy, own_config_map)
    goes_on(evidence, first)
    goes_on(evidence, second)


def test_a_config_map_without_the_key_is_named_with_its_keys(evidence: Evidence, own_config_map: dict[str, Any]):
    own_config_map["data"] = {"other.yaml": GOOD}
    evidence.cluster.apply(own_config_map)
    config_map = own_config_map["metadata"]["name"]
    name = evidence.start({"recipe": {"configMap": {"name": config_map}}, **FINGERPRINT}, prefix="early")
    assert "recipe.yaml" in waits(evidence, name, "RecipeNotFound")
    own_config_map["data"] = {"recipe.yaml": GOOD}
    evidence.cluster.apply(own_config_map)
    goes_on(evidence, name)


CHANGES = {
    "changed": {"deadline": "11m"},
    "removed": {"deadline": None},
    "added": {"logs": "bundled"},
    "another-recipe": {"recipe": {"inline": GOOD + "# another\n"}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_second_apply_that_changes_a_field_is_refused(evidence: Evidence, name: str):
    spec = {"recipe": {"inline": GOOD}, "deadline": "10m", **FINGERPRINT}
    run = manifest(spec, f"again-{secrets.token_hex(3)}")
    evidence.made.append(run["metadata"]["name"])
    evidence.cluster.apply(run)
    changed = {key: value for key, value in {**spec, **CHANGES[name]}.items() if value is not None}
    again = json.dumps(manifest(changed, run["metadata"]["name"]))
    done = evidence.cluster.kubectl("apply", "-f", "-", stdin=again, check=False)
    (field,) = CHANGES[name]
    assert done.returncode == 1
    assert f"spec.{field} cannot be added, changed or removed after creation; make a new EvidenceRun" in done.stderr
    assert len(done.stderr) < 1000
    goes_on(evidence, run["metadata"]["name"])


@pytest.mark.long
def test_what_never_comes_is_rejected_after_two_minutes(lab: Evidence, nowhere: str):
    run = lab.finished(nowhere, timeout=240)
    assert_rejected(lab, run, "RecipeNotFound", [NEVER_COMES.format(name="nowhere")])
    ended = next(c for c in run["status"]["conditions"] if c["type"] == "Complete")["lastTransitionTime"]
    patience = datetime.fromisoformat(ended) - datetime.fromisoformat(run["metadata"]["creationTimestamp"])
    assert patience.total_seconds() >= 115, "two minutes of patience were promised"
