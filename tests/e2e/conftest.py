# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: a real cluster, kubectl, registries, a namespace per test.

EVIDENCERUN_E2E_CLUSTER picks the cluster: `local` (default; deploy/local, brought up if it does not run), `kind`
(deploy/kind, brought up if it does not run), or `existing` (KUBECONFIG and the variables that `cluster env` prints are
set by the caller; nothing is started). A kubeconfig whose context is not one of ours is refused: these tests cut
nodes' power.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
OUR_CONTEXTS = re.compile(r"evidencerun-local(-[0-9])?|kind-evidencerun")
Answer = TypeVar("Answer")
COMMANDS = {"local": REPOSITORY / "deploy/local/cluster", "kind": REPOSITORY / "deploy/kind/cluster"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry that nodes and this process both reach; `user` is empty where anybody may push."""

    address: str
    user: str = ""
    password: str = ""
    authority: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running cluster; `flavour` is local, kind or existing."""

    flavour: str
    kubeconfig: Path
    environment: Mapping[str, str]

    def kubectl(
        self, *words: str, stdin: str | None = None, check: bool = True, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl; an unexpected exit code fails the test with kubectl's own words."""
        done = subprocess.run(
            ["kubectl", *words], input=stdin, capture_output=True, text=True, timeout=timeout, env=self.environment
        )
        if check and done.returncode:
            pytest.fail(f"kubectl {shlex.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def raw(self, path: str, timeout: float = 90) -> bytes:
        """The bytes that the API server answers for `path`."""
        done = subprocess.run(
            ["kubectl", "get", "--raw", path], capture_output=True, timeout=timeout, env=self.environment
        )
        if done.returncode:
            pytest.fail(f"kubectl get --raw {path}: {done.stderr.decode()}")
        return done.stdout

    def get(self, *words: str) -> Any:
        """`kubectl get ... -o json`, decoded."""
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects given as dictionaries."""
        self.kubectl("apply", "-f", "-", stdin=_as_list(objects))

    def create(self, document: Mapping[str, Any]) -> Any:
        """Create one object and return what the API server answered."""
        created = self.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(document))
        return json.loads(created.stdout)

    def nodes(self) -> set[str]:
        """Names of all nodes."""
        return {item["metadata"]["name"] for item in self.get("nodes")["items"]}

    def wait_until(self, what: str, look: Callable[[], Answer], *, timeout: float = 60) -> Answer:
        """Poll `look` until it returns something true, and return that; fail with its last answer otherwise."""
        deadline = time.monotonic() + timeout
        while not (seen := look()):
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {timeout:.0f} s; last seen: {seen!r}")
            time.sleep(0.2)
        return seen

    def manage(self, *words: str | Path, timeout: float = 300) -> str:
        """Run the cluster's own command (load, kill-node, start-node, ...)."""
        command = COMMANDS.get(self.flavour) or pytest.fail(f"no cluster command for flavour {self.flavour}")
        return _run([command, *words], timeout)


def _as_list(objects: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def _run(words: Sequence[str | Path], timeout: float = 900) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _exports(text: str, before: Mapping[str, str]) -> dict[str, str]:
    """The `export NAME=VALUE` lines of `cluster env`, on top of this process' environment."""
    variables = dict(before)
    for line in text.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        variables[name] = value.strip('"').replace("$PATH", before.get("PATH", ""))
    return variables


def _environment(flavour: str) -> dict[str, str]:
    if flavour == "existing":
        return dict(os.environ)
    command = COMMANDS[flavour]
    if subprocess.run([command, "status"], capture_output=True).returncode:
        _run([command, "up", "--nodes", os.environ.get("EVIDENCERUN_E2E_NODES", "3")], timeout=1800)
    # cosign, oras and helm are built for the tests and stand beside kubectl in the folder of tools.
    tools = _run([REPOSITORY / "deploy/local/tools", "bin"]).strip()
    found = _exports(_run([command, "env"]), os.environ)
    return {**found, "PATH": f"{tools}:{found.get('PATH', '')}"}


def _refuse_foreign(cluster: Cluster) -> None:
    context = cluster.kubectl("config", "current-context").stdout.strip()
    if not OUR_CONTEXTS.fullmatch(context):
        pytest.exit(
            f"refusing to run against context {context!r} of {cluster.kubeconfig}: only evidencerun-local and "
            "kind-evidencerun are test clusters",
            returncode=2,
        )


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test, running; it is left running."""
    flavour = os.environ.get("EVIDENCERUN_E2E_CLUSTER", "local")
    if flavour not in (*COMMANDS, "existing"):
        pytest.exit(f"EVIDENCERUN_E2E_CLUSTER is {flavour!r}; expected local, kind or existing", returncode=2)
    environment = _environment(flavour)
    if "KUBECONFIG" not in environment:
        pytest.exit("EVIDENCERUN_E2E_CLUSTER=existing needs KUBECONFIG", returncode=2)
    found = Cluster(flavour=flavour, kubeconfig=Path(environment["KUBECONFIG"]), environment=environment)
    _refuse_foreign(found)
    return found


@pytest.fixture(scope="session")
def registry(cluster: Cluster) -> Registry:
    """The registry with TLS and a password, without the referrers API."""
    variables = cluster.environment
    return Registry(
        address=variables["EVIDENCERUN_REGISTRY"],
        user=variables["EVIDENCERUN_REGISTRY_USER"],
        password=Path(variables["EVIDENCERUN_REGISTRY_PASSWORD_FILE"]).read_text(encoding="ascii").strip(),
        authority=Path(variables["EVIDENCERUN_REGISTRY_CA"]),
    )


@pytest.fixture(scope="session")
def referrers_registry(cluster: Cluster) -> Registry:
    """The registry in plain HTTP that has the referrers API."""
    return Registry(address=cluster.environment["EVIDENCERUN_REFERRERS_REGISTRY"])


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own; deleted afterwards, without waiting for its end."""
    name = f"e2e-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.wait_until(
        "the namespace's default account exists",
        lambda: not cluster.kubectl("-n", name, "get", "serviceaccount", "default", check=False).returncode,
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
