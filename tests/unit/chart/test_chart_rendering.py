# SPDX-License-Identifier: Apache-2.0
"""What the chart renders: restricted pods, images by digest, the policy, the CRDs, and values that are refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evidencerun.validation.spec import PolicySpec

Documents = list[dict[str, Any]]
DIGEST = "sha256:" + "a" * 64
PROBE_DIGEST = "sha256:" + "b" * 64
IMAGES = {"evidencerun": {"digest": DIGEST}, "probe": {"digest": PROBE_DIGEST}}
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
        ({"images": IMAGES, "runNamespaces": ["kube-system"]}, "runNamespaces"),
        ({"images": {"evidencerun": {"digest": "latest"}}}, "digest"),
        ({"images": IMAGES, "store": {"persistence": {"size": "ten"}}}, "size"),
        ({"images": IMAGES, "policy": {"redaction": "maximal"}}, "redaction"),
        (
            {"images": IMAGES, "policy": {"catalog": [{"name": "a", "phase": "deployment", "image": "a:latest"}]}},
            "image",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(
    helm_template: Callable[..., subprocess.CompletedProcess[str]], values: dict[str, Any], named: str
) -> None:
    done = helm_template(**values)
    assert done.returncode != 0
    assert named in done.stderr


def test_the_readme_names_every_value(repository: Path) -> None:
    chart = repository / "charts/evidencerun"
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    rows = [
        line.split("|")[1] for line in (chart / "README.md").read_text(encoding="utf-8").splitlines() if "| `" in line
    ]
    named = {name.split(".")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == set(values)
