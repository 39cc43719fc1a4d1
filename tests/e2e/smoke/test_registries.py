# SPDX-License-Identifier: Apache-2.0
"""The two registries: TLS and a password with the fallback tag for referrers, and plain HTTP with the referrers API."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cluster, Registry
    from tests.e2e.smoke.conftest import Image

Make = Callable[..., dict[str, Any]]
Oras = Callable[..., str]
ARTIFACT_TYPE = "application/vnd.evidencerun.smoke.v1"


def _status(registry: Registry, path: str, *, authenticated: bool) -> tuple[int, bytes]:
    scheme = "https" if registry.authority else "http"
    request = urllib.request.Request(f"{scheme}://{registry.address}{path}")
    request.add_header("Accept", "application/vnd.oci.image.index.v1+json, application/json")
    if authenticated and registry.user:
        pair = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    context = ssl.create_default_context(cafile=str(registry.authority)) if registry.authority else None
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _options(registry: Registry, prefix: str = "") -> list[str | Path]:
    """Flags of oras for this registry; oras is logged in to the one with a password."""
    return [f"--{prefix}ca-file", registry.authority] if registry.authority else [f"--{prefix}plain-http"]


@pytest.fixture
def repository() -> str:
    """A repository name that no other test uses."""
    return f"smoke/{secrets.token_hex(4)}"


@pytest.fixture
def pushed(pulled_image: Image, registry: Registry, repository: str, oras: Oras) -> str:
    """The smoke image in the registry with a password, under a name that no node has."""
    name = f"{registry.address}/{repository}:1"
    login = ["login", registry.address, "--username", registry.user, "--password-stdin"]
    oras(*login, *_options(registry), stdin=registry.password)
    oras("cp", "--from-oci-layout", f"{pulled_image.archive}:1", name, *_options(registry, "to-"))
    return name


@pytest.fixture
def pushed_plain(pulled_image: Image, referrers_registry: Registry, repository: str, oras: Oras) -> str:
    """The smoke image in the registry with the referrers API, under a name that no node has."""
    name = f"{referrers_registry.address}/{repository}:1"
    oras("cp", "--from-oci-layout", f"{pulled_image.archive}:1", name, *_options(referrers_registry, "to-"))
    return name


def test_registry_with_tls_wants_the_password(registry: Registry) -> None:
    assert _status(registry, "/v2/", authenticated=False)[0] == 401
    assert _status(registry, "/v2/", authenticated=True)[0] == 200


def _secret(namespace: str, registry: Registry) -> dict[str, Any]:
    pair = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull", "namespace": namespace},
        "stringData": {".dockerconfigjson": json.dumps({"auths": {registry.address: {"auth": pair}}})},
    }


def test_image_is_pulled_with_the_secret_and_refused_without(
    cluster: Cluster,
    namespace: str,
    registry: Registry,
    pushed: str,
    pod: Make,
    container: Make,
    output: Callable[[str], str],
) -> None:
    script = "print('pulled')"
    pulling = container("main", script, image=pushed, imagePullPolicy="Always")
    cluster.apply(_secret(namespace, registry), pod("without", script, containers=[pulling]))
    cluster.apply(pod("with", script, containers=[pulling], imagePullSecrets=[{"name": "pull"}]))
    assert output("with") == "pulled\n"

    def waiting() -> dict[str, Any]:
        statuses = cluster.get("-n", namespace, "pod", "without")["status"].get("containerStatuses", [{"state": {}}])
        found: dict[str, Any] = statuses[0]["state"].get("waiting", {})
        return found if found.get("reason") in ("ErrImagePull", "ImagePullBackOff") else {}

    assert "401" in cluster.wait_until("the pull is refused", waiting)["message"]


def _attach(oras: Oras, registry: Registry, name: str, folder: Path) -> None:
    (folder / "note.txt").write_text("attached", encoding="ascii")
    options = ["--artifact-type", ARTIFACT_TYPE, "--disable-path-validation", *_options(registry)]
    oras("attach", name, *options, f"{folder / 'note.txt'}:text/plain")


def _discovered(oras: Oras, registry: Registry, name: str) -> list[str]:
    answer = json.loads(oras("discover", "--format", "json", *_options(registry), name))
    return [referrer["artifactType"] for referrer in answer["referrers"]]


def test_registry_without_referrers_api_keeps_them_under_the_fallback_tag(
    registry: Registry, repository: str, pushed: str, pulled_image: Image, oras: Oras, tmp_path: Path
) -> None:
    digest = pulled_image.digest
    assert _status(registry, f"/v2/{repository}/referrers/{digest}", authenticated=True)[0] == 404
    _attach(oras, registry, pushed, tmp_path)
    assert _discovered(oras, registry, pushed) == [ARTIFACT_TYPE]
    tag = digest.replace(":", "-")
    assert _status(registry, f"/v2/{repository}/manifests/{tag}", authenticated=True)[0] == 200


def test_registry_with_referrers_api_lists_them(
    referrers_registry: Registry, repository: str, pushed_plain: str, pulled_image: Image, oras: Oras, tmp_path: Path
) -> None:
    _attach(oras, referrers_registry, pushed_plain, tmp_path)
    assert _discovered(oras, referrers_registry, pushed_plain) == [ARTIFACT_TYPE]
    digest = pulled_image.digest
    status, body = _status(referrers_registry, f"/v2/{repository}/referrers/{digest}", authenticated=False)
    assert status == 200
    assert [manifest["artifactType"] for manifest in json.loads(body)["manifests"]] == [ARTIFACT_TYPE]


def test_nodes_pull_from_the_registry_in_plain_http(
    cluster: Cluster, pushed_plain: str, pod: Make, container: Make, output: Callable[[str], str]
) -> None:
    script = "print('pulled')"
    cluster.apply(pod("plain", script, containers=[container("main", script, image=pushed_plain)]))
    assert output("plain") == "pulled\n"
