# SPDX-License-Identifier: Apache-2.0
"""Identity: what a pod-bound token proves, who may read the issuer's keys, what admission refuses, what is audited."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cluster

Make = Callable[..., dict[str, Any]]
AUDIENCE = "evidencerun.dev/smoke"
READ_TOKEN = "print(open('/token/token').read())"


def _bearer(pod: Make, container: Make) -> dict[str, Any]:
    token = {"path": "token", "audience": AUDIENCE, "expirationSeconds": 3600}
    volume = {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}
    mount = {"name": "token", "mountPath": "/token"}
    main = container("main", "import time; time.sleep(3600)", volumeMounts=[mount])
    return pod("bearer", "", containers=[main], volumes=[volume])


def _review(cluster: Cluster, token: str, audience: str) -> dict[str, Any]:
    spec = {"token": token, "audiences": [audience]}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    status: dict[str, Any] = cluster.create(review)["status"]
    return status


def _token_of_running_pod(cluster: Cluster, namespace: str) -> str:
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/bearer", "--timeout=60s")
    read = cluster.kubectl("-n", namespace, "exec", "bearer", "--", "/usr/bin/python3", "-c", READ_TOKEN)
    return read.stdout.strip()


def test_token_review_names_pod_and_node_for_its_audience_only(
    cluster: Cluster, namespace: str, pod: Make, container: Make
) -> None:
    cluster.apply(_bearer(pod, container))
    token = _token_of_running_pod(cluster, namespace)
    found = cluster.get("-n", namespace, "pod", "bearer")

    right = _review(cluster, token, AUDIENCE)
    assert right["authenticated"] is True
    assert right["audiences"] == [AUDIENCE]
    extra = right["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["bearer"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [found["metadata"]["uid"]]
    assert extra["authentication.kubernetes.io/node-name"] == [found["spec"]["nodeName"]]

    assert not _review(cluster, token, "another audience").get("authenticated")
    cluster.kubectl("-n", namespace, "delete", "pod", "bearer", "--wait=true", "--timeout=60s")
    # The API server remembers an accepted token for ten seconds.
    cluster.wait_until(
        "the token dies with its pod", lambda: not _review(cluster, token, AUDIENCE).get("authenticated")
    )


def _anonymous(cluster: Cluster, url: str) -> dict[str, Any]:
    config = cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json").stdout
    encoded = json.loads(config)["clusters"][0]["cluster"]["certificate-authority-data"]
    context = ssl.create_default_context(cadata=base64.b64decode(encoded).decode())
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(url, timeout=10) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def test_issuer_of_tokens_is_reachable_without_credentials(cluster: Cluster, namespace: str) -> None:
    if cluster.flavour != "local":
        pytest.skip("only the local cluster's issuer has an address that is reachable from outside")
    token = cluster.kubectl("-n", namespace, "create", "token", "default", "--audience", "sigstore").stdout
    payload = token.split(".")[1]
    issuer = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iss"]
    discovery = _anonymous(cluster, f"{issuer}/.well-known/openid-configuration")
    assert discovery["issuer"] == issuer
    assert _anonymous(cluster, discovery["jwks_uri"])["keys"]


@pytest.fixture
def policy(cluster: Cluster, namespace: str) -> Iterator[str]:
    """A ValidatingAdmissionPolicy that denies ConfigMaps named `forbidden` in the test's namespace."""
    name = f"smoke-{secrets.token_hex(4)}.evidencerun.dev"
    matched = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
        ],
    }
    rule = {"expression": "object.metadata.name != 'forbidden'", "message": "this name is forbidden here"}
    group = "admissionregistration.k8s.io/v1"
    cluster.apply(
        {
            "apiVersion": group,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "matchConstraints": matched, "validations": [rule]},
        },
        {
            "apiVersion": group,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    )
    yield name
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        cluster.kubectl("delete", kind, name)


def test_validating_admission_policy_denies(cluster: Cluster, namespace: str, policy: str) -> None:
    dry_run = ("-n", namespace, "create", "configmap", "forbidden", "--dry-run=server")
    # A new policy takes effect a moment after it was stored.
    cluster.wait_until("the policy is in force", lambda: cluster.kubectl(*dry_run, check=False).returncode != 0)

    denied = cluster.kubectl("-n", namespace, "create", "configmap", "forbidden", check=False)
    assert denied.returncode == 1
    assert "this name is forbidden here" in denied.stderr
    cluster.kubectl("-n", namespace, "create", "configmap", "allowed")
    names = {item["metadata"]["name"] for item in cluster.get("-n", namespace, "configmaps")["items"]}
    assert "allowed" in names
    assert "forbidden" not in names


def test_audit_log_holds_the_uid_of_every_created_object(cluster: Cluster, namespace: str) -> None:
    if "EVIDENCERUN_AUDIT_LOG" not in cluster.environment:
        pytest.skip("the audit log of this cluster is not readable from here")
    created = [
        cluster.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-", "namespace": namespace}}
        )
        for _ in range(3)
    ]

    log = Path(cluster.environment["EVIDENCERUN_AUDIT_LOG"])

    def audited() -> set[str]:
        return {
            event["responseObject"]["metadata"]["uid"]
            for line in log.read_text(encoding="utf-8").splitlines()
            if namespace in line
            and (event := json.loads(line))["verb"] == "create"
            and event["objectRef"]["resource"] == "configmaps"
            and event["objectRef"]["namespace"] == namespace
        }

    wanted = {each["metadata"]["uid"] for each in created}
    assert len(wanted) == 3
    cluster.wait_until("the audit log holds them", lambda: wanted <= audited())
