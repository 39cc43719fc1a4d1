# SPDX-License-Identifier: Apache-2.0
"""What the chart renders: restricted pods, images by digest, the policy, the CRDs, and values that are refused."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from evidencerun.validation.spec import PolicySpec

Documents = list[dict[str, Any]]
DIGEST = "sha256:" + "a" * 64
PROBE_DIGEST = "sha256:" + "b" * 64
IMAGES = {"evidencerun": {"digest": DIGEST}, "probe": {"digest": PROBE_DIGEST}}
CHECK = {"name": "a", "phase": "deployment", "image": f"registry.example.com/a@{DIGEST}"}
PARTS = {"evidence-operator": "Deployment", "evidence-store": "StatefulSet", "evidence-sealer": "Deployment"}


def one(documents: Documents, kind: str, name: str) -> dict[str, Any]:
    """The one document of that kind and name."""
    found = [d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} documents are {kind} {name}"
    return found[0]


def pod(documents: Documents, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = one(documents, PARTS[name], name)["spec"]["template"]["spec"]
    return spec


def environment(documents: Documents, name: str) -> dict[str, str]:
    (container,) = pod(documents, name)["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def volumes(documents: Documents, name: str) -> dict[str, dict[str, Any]]:
    return {volume["name"]: volume for volume in pod(documents, name)["volumes"]}


def test_nothing_else_stands(documents: Documents) -> None:
    kinds = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
    assert {d["metadata"]["name"]: d["kind"] for d in documents if d["kind"] in kinds} == PARTS


@pytest.mark.parametrize("name", PARTS)
def test_pods_are_restricted(documents: Documents, name: str) -> None:
    spec = pod(documents, name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not any("hostPath" in volume for volume in spec["volumes"])
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert container["image"].endswith(f"@{DIGEST}")


@pytest.mark.parametrize("name", PARTS)
def test_every_mount_has_its_volume(documents: Documents, name: str) -> None:
    claims = one(documents, PARTS[name], name)["spec"].get("volumeClaimTemplates", [])
    known = volumes(documents, name).keys() | {claim["metadata"]["name"] for claim in claims}
    (container,) = pod(documents, name)["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == known


def test_namespaces_and_their_security_levels(documents: Documents) -> None:
    key = "pod-security.kubernetes.io/enforce"
    levels = {d["metadata"]["name"]: d["metadata"]["labels"][key] for d in documents if d["kind"] == "Namespace"}
    expected = {"evidencerun-probes": "privileged", "evidencerun-checks": "baseline", "evidence": "restricted"}
    assert levels == expected


def test_existing_run_namespaces_are_left_alone(render: Callable[..., Documents]) -> None:
    documents = render(createRunNamespaces=False, runNamespaces=["team-a"])
    names = {d["metadata"]["name"] for d in documents if d["kind"] == "Namespace"}
    assert names == {"evidencerun-probes", "evidencerun-checks"}
    assert environment(documents, "evidence-operator")["EVIDENCERUN_RUN_NAMESPACES"] == "team-a"


def test_environment_of_the_operator(documents: Documents) -> None:
    assert environment(documents, "evidence-operator") == {
        "EVIDENCERUN_SYSTEM_NAMESPACE": "evidencerun-system",
        "EVIDENCERUN_PROBES_NAMESPACE": "evidencerun-probes",
        "EVIDENCERUN_CHECKS_NAMESPACE": "evidencerun-checks",
        "EVIDENCERUN_RUN_NAMESPACES": "evidence",
        "EVIDENCERUN_STORE_URL": "https://evidence-store.evidencerun-system.svc",
        "EVIDENCERUN_TOKEN_FILE": "/var/run/evidencerun/token",
        "EVIDENCERUN_IMAGE": f"ghcr.io/evidencerun/evidencerun@{DIGEST}",
        "EVIDENCERUN_PROBE_IMAGE": f"ghcr.io/evidencerun/evidencerun-probe@{PROBE_DIGEST}",
    }


@pytest.mark.parametrize("name", ["evidence-operator", "evidence-sealer"])
def test_tokens_for_the_store_have_its_audience(documents: Documents, name: str) -> None:
    from evidencerun.validation.storeapi import STORE_AUDIENCE

    (source,) = volumes(documents, name)["store-token"]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == STORE_AUDIENCE


def test_the_store_keeps_its_data_on_a_claim(documents: Documents) -> None:
    (claim,) = one(documents, "StatefulSet", "evidence-store")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert environment(documents, "evidence-store")["EVIDENCERUN_PERSISTENT"] == "true"


def test_without_persistence_the_store_says_so(render: Callable[..., Documents]) -> None:
    documents = render(store={"persistence": {"enabled": False}})
    assert "volumeClaimTemplates" not in one(documents, "StatefulSet", "evidence-store")["spec"]
    assert "emptyDir" in volumes(documents, "evidence-store")["data"]
    assert environment(documents, "evidence-store")["EVIDENCERUN_PERSISTENT"] == "false"


def test_the_sealer_makes_its_own_key_on_its_own_claim(documents: Documents) -> None:
    claim = volumes(documents, "evidence-sealer")["key"]["persistentVolumeClaim"]["claimName"]
    kept = one(documents, "PersistentVolumeClaim", claim)["metadata"]["annotations"]["helm.sh/resource-policy"]
    assert kept == "keep"
    assert environment(documents, "evidence-sealer")["EVIDENCERUN_SIGNING_SECRET_NAME"] == ""
    assert "signing" not in volumes(documents, "evidence-sealer")


def test_a_signing_secret_is_mounted_optionally(render: Callable[..., Documents]) -> None:
    documents = render(signing={"secretName": "team-key"})
    secret = volumes(documents, "evidence-sealer")["signing"]["secret"]
    assert (secret["secretName"], secret["optional"]) == ("team-key", True)
    assert environment(documents, "evidence-sealer")["EVIDENCERUN_SIGNING_SECRET_NAME"] == "team-key"
    assert not [d for d in documents if d["kind"] == "PersistentVolumeClaim"]


def test_no_key_passes_through_helm(documents: Documents) -> None:
    assert not [d for d in documents if d["kind"] == "Secret"]
    assert "data" not in one(documents, "ConfigMap", "evidence-public")


def test_the_default_policy_is_valid_and_pins_its_images(documents: Documents) -> None:
    policy = PolicySpec.model_validate(one(documents, "EvidencePolicy", "default")["spec"])
    assert [pool.name for pool in policy.pools] == ["nvidia", "amd", "any"]
    assert [pool.name for pool in policy.pools if pool.fallback] == ["any"]
    assert all(
        [t.model_dump(exclude_defaults=True) for t in p.tolerations] == [{"operator": "Exists"}] for p in policy.pools
    )
    catalog = {entry.name: (entry.image, entry.rights.value, entry.mandatory) for entry in policy.catalog}
    image = f"ghcr.io/evidencerun/evidencerun@{DIGEST}"
    assert catalog == {
        "expected-resources": (image, "aicr-read", True),
        "node-agreement": (image, "none", False),
    }


def test_a_policy_without_checks_is_valid(render: Callable[..., Documents]) -> None:
    spec = one(render(policy={"builtinChecks": False}), "EvidencePolicy", "default")["spec"]
    assert PolicySpec.model_validate(spec).catalog == []


def test_the_policy_may_be_left_to_others(render: Callable[..., Documents]) -> None:
    assert not [d for d in render(policy={"create": False}) if d["kind"] == "EvidencePolicy"]


def test_bundles_are_fetched_through_one_service_and_nothing_else(documents: Documents) -> None:
    (rule,) = one(documents, "Role", "evidence-retriever")["rules"]
    assert rule == {
        "apiGroups": [""],
        "resources": ["services/proxy"],
        "resourceNames": ["https:evidence-store:443"],
        "verbs": ["get"],
    }


def test_every_pod_of_ours_is_under_a_network_policy(documents: Documents) -> None:
    policies = [d for d in documents if d["kind"] == "NetworkPolicy"]
    covered = {(d["metadata"]["namespace"], d["metadata"]["name"]): d["spec"] for d in policies}
    for spec in covered.values():
        assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert covered["evidencerun-system", "evidence-sealer"]["ingress"] == []
    for name in PARTS:
        selector = covered["evidencerun-system", name]["podSelector"]["matchLabels"]
        labels = one(documents, PARTS[name], name)["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
    for namespace, name in (("evidencerun-probes", "evidence-probes"), ("evidencerun-checks", "evidence-checks")):
        assert covered[namespace, name]["podSelector"] == {}


def test_crds_of_the_chart_are_those_of_the_repository(repository: Path) -> None:
    def texts(folder: Path) -> dict[str, str]:
        return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}

    ours = texts(repository / "crds")
    assert len(ours) == 2
    assert texts(repository / "charts/evidencerun/crds") == ours, "fix: make generate"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "images.evidencerun.digest is empty"),
        ({"images": IMAGES, "runNamespace": "evidence"}, "runNamespace"),
        ({"images": IMAGES, "runNamespaces": []}, "runNamespaces"),
        ({"images": {"evidencerun": {"digest": "latest"}}}, "digest"),
        ({"images": {**IMAGES, "probe": {"repository": "a@b"}}}, "/images/probe/repository"),
        ({"images": {**IMAGES, "probe": {"pullPolicy": "Always"}}}, "pullPolicy"),
        ({"images": IMAGES, "store": {"persistence": {"size": "ten"}}}, "size"),
        ({"images": IMAGES, "store": {"resources": {"limit": {}}}}, "limit"),
        ({"images": IMAGES, "tolerations": [{"operators": "Exists"}]}, "operators"),
        ({"images": IMAGES, "affinity": {"podAffinities": {}}}, "podAffinities"),
        ({"images": IMAGES, "networkPolicy": {"checksEgress": [{"too": []}]}}, "too"),
        ({"images": IMAGES, "podLabels": {"app.kubernetes.io/component": "x"}}, "app.kubernetes.io/component"),
        ({"images": IMAGES, "commonLabels": {"helm.sh/chart": "x"}}, "helm.sh/chart"),
        (
            {"images": IMAGES, "namespaces": {"annotations": {"helm.sh/resource-policy": "x"}}},
            "helm.sh/resource-policy",
        ),
        ({"images": IMAGES, "policy": {"redaction": "maximal"}}, "redaction"),
        ({"images": IMAGES, "policy": {"signing": {"mode": "keyless"}}}, "/policy/signing/mode"),
        ({"images": IMAGES, "policy": {"limits": {"maxNode": 3}}}, "maxNode"),
        ({"images": IMAGES, "policy": {"limits": {"maxDeadline": "soon"}}}, "/policy/limits/maxDeadline"),
        ({"images": IMAGES, "policy": {"retention": {"bundle": "3d"}}}, "bundle"),
        ({"images": IMAGES, "policy": {"pools": [{"name": "a", "nodeselector": {}}]}}, "nodeselector"),
        ({"images": IMAGES, "policy": {"catalog": [CHECK | {"image": "a:latest"}]}}, "/policy/catalog/0/image"),
        ({"images": IMAGES, "policy": {"catalog": [CHECK | {"command": ["sh"]}]}}, "command"),
    ],
)
def test_wrong_values_are_refused_by_name(
    helm_template: Callable[..., subprocess.CompletedProcess[str]], values: dict[str, Any], named: str
) -> None:
    done = helm_template(**values)
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize(
    ("namespace", "values", "named"),
    [
        ("default", {}, "the release's namespace is default; expected one of its own"),
        ("kube-system", {}, "-n evidencerun-system --create-namespace"),
        (
            "evidencerun-checks",
            {},
            "evidencerun-checks, evidencerun-probes, evidencerun-checks; expected three different",
        ),
        ("a", {"namespaces": {"probes": "b", "checks": "b"}}, "a, b, b; expected three different"),
        ("a", {"namespaces": {"checks": "kube-public"}}, "namespaces.checks is kube-public"),
        ("a", {"runNamespaces": ["team", "a"]}, "runNamespaces holds a; expected namespaces of tenants"),
        ("a", {"runNamespaces": ["evidencerun-probes"]}, "runNamespaces holds evidencerun-probes"),
        ("a", {"runNamespaces": ["kube-system"]}, "runNamespaces holds kube-system"),
        ("a", {"policy": {"catalog": [CHECK | {"rights": "aicr-wide"}]}}, "check a has rights aicr-wide"),
    ],
)
def test_values_that_do_not_fit_together_are_refused_with_a_sentence(
    helm: Path, repository: Path, namespace: str, values: dict[str, Any], named: str
) -> None:
    command = [helm, "template", "evidencerun", repository / "charts/evidencerun", "-n", namespace, "-f", "-"]
    text = json.dumps({"images": IMAGES, **values})
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode != 0
    assert named in done.stderr


TOLERATION = {"key": "gpu", "operator": "Equal", "value": "x", "effect": "NoSchedule"}
TERM = {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "Exists"}]}
EXTRA = {"labels": {"team": "b"}, "annotations": {"note": "a: b"}}
ODD: dict[str, Any] = {
    "imagePullSecrets": ["pull", "pull.other"],
    "runNamespaces": [f"team-{number}" for number in range(20)],
    "namespaces": {"probes": "p", "checks": "c", "create": False, **EXTRA},
    "policy": {
        "pools": [{"name": "all", "tolerations": [TOLERATION]}],
        "limits": {"maxNodes": 3, "maxDeadline": "1h30m"},
        "retention": {"bundles": "1d"},
        "redaction": "none",
        "signing": {"mode": "none"},
        "catalog": [CHECK | {"rights": "aicr-wide", "args": ["--flag=a b"], "env": [{"name": "A", "value": "1"}]}],
    },
    "checks": {"wideRights": True},
    "signing": {"secretName": "team-key"},
    "operator": {"resources": {"requests": {"cpu": 0.5, "memory": "256Mi"}, "limits": {"cpu": 1}}},
    "store": {"persistence": {"size": "1Ti", "storageClassName": "fast"}, "resources": {}},
    "networkPolicy": {"dnsPorts": [53, 5353], "checksEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
    "commonLabels": {"team": "a", "cost/centre": "7"},
    "priorityClassName": "important",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]}}},
    "podAnnotations": {"note": "yes"},
    "podLabels": {"sidecar.istio.io/inject": "false"},
}
"""Values of every kind that a platform team sets, none of them the default."""


def test_lint_is_clean_for_default_and_for_odd_values(helm: Path, repository: Path) -> None:
    for values in ({}, ODD):
        command = [helm, "lint", "--strict", repository / "charts/evidencerun", "-n", "evidencerun-system", "-f", "-"]
        text = json.dumps({"images": IMAGES, **values})
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not re.search(r"\[(WARNING|ERROR)\]|funcMap fail", done.stdout + done.stderr)


def test_odd_values_arrive_where_they_belong(render: Callable[..., Documents]) -> None:
    documents = render(**ODD)
    for name in PARTS:
        spec, metadata = pod(documents, name), one(documents, PARTS[name], name)["spec"]["template"]["metadata"]
        assert spec["priorityClassName"] == "important"
        assert spec["nodeSelector"] == ODD["nodeSelector"]
        assert spec["affinity"] == ODD["affinity"]
        assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
        assert metadata["annotations"]["note"] == "yes"
    for document in documents:
        assert document["metadata"]["labels"]["cost/centre"] == "7", document["metadata"]["name"]
    made = {d["metadata"]["name"]: d["metadata"] for d in documents if d["kind"] == "Namespace"}
    assert set(made) == set(ODD["runNamespaces"]), "probes and checks exist already"
    assert made["team-7"]["labels"]["team"] == "b"
    assert made["team-7"]["annotations"] == {"note": "a: b", "helm.sh/resource-policy": "keep"}
    ports = one(documents, "NetworkPolicy", "evidence-sealer")["spec"]["egress"][0]["ports"]
    assert {(port["protocol"], port["port"]) for port in ports} == {(p, n) for p in ("UDP", "TCP") for n in (53, 5353)}
    PolicySpec.model_validate(one(documents, "EvidencePolicy", "default")["spec"])


@pytest.mark.parametrize("name", PARTS)
def test_a_lost_node_is_given_up_even_if_every_taint_is_tolerated(render: Callable[..., Documents], name: str) -> None:
    """Of several tolerations that fit a taint, the first one counts."""
    for tolerations in ([], [{"operator": "Exists"}]):
        found = pod(render(tolerations=tolerations), name)["tolerations"]
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
            first = next(each for each in found if each.get("key", key) == key)
            assert first == {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}


def test_the_schema_of_the_policy_is_that_of_its_model(values_schema: ModuleType, repository: Path) -> None:
    text = (repository / "charts/evidencerun/values.schema.json").read_text(encoding="utf-8")
    assert text == values_schema.text(), "fix: make generate"


def test_every_value_is_in_the_schema_and_nothing_else(repository: Path) -> None:
    chart = repository / "charts/evidencerun"
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    assert set(schema["properties"]) - {"global"} == set(values)
    assert schema["additionalProperties"] is False


def notes(helm: Path, repository: Path, **values: Any) -> str:
    """What `helm install` would print."""
    command = [helm, "install", "evidencerun", repository / "charts/evidencerun", "-n", "evidencerun-system"]
    text = json.dumps({"images": IMAGES, **values})
    done = subprocess.run([*command, "--dry-run=client", "-f", "-"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:\n")[2]


def test_the_notes_fit_the_values(helm: Path, repository: Path) -> None:
    usual = notes(helm, repository)
    assert "is installed in evidencerun-system. Runs are served in: evidence." in usual
    assert "kubectl apply -f deploy/examples/quickstart.yaml\n" in usual
    assert "kubectl wait -n evidence evr/quickstart" in usual
    assert "kubectl label namespace evidencerun-system pod-security.kubernetes.io/enforce=restricted" in usual
    assert not re.search("Durable|Secret|policy-example", usual)

    odd = notes(
        helm,
        repository,
        runNamespaces=["team-a", "team-b"],
        store={"persistence": {"enabled": False}},
        signing={"secretName": "team-key"},
    )
    assert "Runs are served in: team-a, team-b." in odd
    assert "kubectl wait -n team-a evr/quickstart" in odd
    assert "Durable=False" in odd
    assert "kubectl create secret generic team-key -n evidencerun-system --from-file=signing.key=FILE" in odd
    (command,) = re.findall(r"^ *(sed .*) deploy/examples/quickstart\.yaml \| kubectl apply -f -$", odd, re.MULTILINE)
    file = repository / "deploy/examples/quickstart.yaml"
    done = subprocess.run(["sh", "-c", f"{command} {file}"], capture_output=True, text=True, check=True)
    (run,) = [document for document in yaml.safe_load_all(done.stdout) if document["kind"] == "EvidenceRun"]
    assert run["metadata"]["namespace"] == "team-a"
    assert "evidence-demo" in run["spec"]["recipe"]["inline"]

    without = notes(helm, repository, policy={"create": False})
    assert "policy-example.yaml" in without
    assert "quickstart" not in without


def test_the_readme_names_every_value(repository: Path) -> None:
    chart = repository / "charts/evidencerun"
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    rows = [
        line.split("|")[1] for line in (chart / "README.md").read_text(encoding="utf-8").splitlines() if "| `" in line
    ]
    named = {name.split(".")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == set(values)
