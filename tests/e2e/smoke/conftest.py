# SPDX-License-Identifier: Apache-2.0
"""A small Python image for the smoke tests, and pods that run it."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cluster

REPOSITORY = Path(__file__).resolve().parents[3]
UID = 10001


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its archive, its name with tag, and its manifest digest."""

    archive: Path
    name: str
    digest: str

    @property
    def by_digest(self) -> str:
        return f"{self.name.rpartition(':')[0]}@{self.digest}"


def _root(folder: Path) -> Path:
    """The root file system: Python on Debian, nothing else."""
    root = folder / "rootfs"
    rootfs = _module("rootfs")
    rootfs.extract_debs(rootfs.PYTHON_PACKAGES, root)
    rootfs.finish_python(root)
    rootfs.slim(root)
    rootfs.accounts(root, {"app": UID})
    return root


def _module(name: str) -> Any:
    """One of the image modules of deploy/images, which are no installed package."""
    folder = str(REPOSITORY / "deploy/images")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The one compressed layer of all smoke images."""
    folder = tmp_path_factory.mktemp("layer")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        return _module("ociarchive").make_layer(_root(Path(scratch)), folder / "layer.tar.gz")


def _image(layer: Any, archive: Path, purpose: str) -> Image:
    name = f"evidencerun.local/smoke-{purpose}:1"
    run = {"entrypoint": ["/usr/bin/python3"], "user": f"{UID}:{UID}", "labels": {"purpose": purpose}}
    digest = _module("ociarchive").write([layer], name, archive, **run)
    return Image(archive=archive, name=name, digest=digest)


@pytest.fixture(scope="session")
def image(cluster: Cluster, layer: Any, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The smoke image, built and imported into every node."""
    image = _image(layer, tmp_path_factory.mktemp("image") / "smoke-loaded.tar", "loaded")
    cluster.manage("load", image.archive)
    return image


@pytest.fixture(scope="session")
def pulled_image(layer: Any, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The same for pulling from registries, with an identity of its own.

    A kubelet that has once pulled an image with a Secret asks for that Secret whenever a pod uses the same image id,
    under whatever name; images imported into the nodes must therefore differ from those that are pulled.
    """
    return _image(layer, tmp_path_factory.mktemp("image") / "smoke-pulled.tar", "pulled")


@pytest.fixture
def container(image: Image) -> Callable[..., dict[str, Any]]:
    """Make a restricted container that runs a Python program: container(name, script, **more fields)."""

    def make(name: str, script: str, **fields: Any) -> dict[str, Any]:
        return {
            "name": name,
            "image": image.by_digest,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/usr/bin/python3", "-u", "-c", script],
            "securityContext": {
                "runAsNonRoot": True,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **fields,
        }

    return make


@pytest.fixture
def pod(container: Callable[..., dict[str, Any]], namespace: str) -> Callable[..., dict[str, Any]]:
    """Make a pod of one such container that runs once: pod(name, script, **more fields of its spec)."""

    def make(name: str, script: str, **fields: Any) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                "containers": [container("main", script)],
                **fields,
            },
        }

    return make


@pytest.fixture
def phase(cluster: Cluster, namespace: str) -> Callable[[str], str]:
    """The phase of a pod of the test's namespace."""
    return lambda name: str(cluster.get("-n", namespace, "pod", name)["status"].get("phase"))


@pytest.fixture
def output(cluster: Cluster, namespace: str, phase: Callable[[str], str]) -> Callable[[str], str]:
    """Wait until a pod has succeeded and return its log."""

    def read(name: str) -> str:
        ended = cluster.wait_until(f"pod {name} ends", lambda: (now := phase(name)) in ("Succeeded", "Failed") and now)
        text = cluster.kubectl("-n", namespace, "logs", name).stdout
        assert ended == "Succeeded", f"{name} ended {ended}:\n{text}"
        return text

    return read


@pytest.fixture(scope="session")
def oras() -> Iterator[Callable[..., str]]:
    """Run the oras client, built from its Go module, without any credentials of this machine's user."""
    tools = REPOSITORY / "deploy/local/tools"
    program = subprocess.run([tools, "path", "oras"], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "DOCKER_CONFIG": home, "PATH": os.environ["PATH"]}

        def run(*words: str | Path, stdin: str = "") -> str:
            done = subprocess.run(
                [program, *map(str, words)], input=stdin, capture_output=True, text=True, env=environment, timeout=120
            )
            assert done.returncode == 0, f"oras {' '.join(map(str, words))}:\n{done.stdout}{done.stderr}"
            return done.stdout

        yield run


@pytest.fixture(scope="session")
def server_certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A self-signed serving certificate as the data of a Secret of type kubernetes.io/tls."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "tls.key", folder / "tls.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*command, "-subj", "/CN=web", "-days", "1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return {"tls.key": key.read_text(encoding="ascii"), "tls.crt": certificate.read_text(encoding="ascii")}


@pytest.fixture(scope="session")
def binary() -> bytes:
    """Two megabytes that no text encoding survives."""
    block = hashlib.sha256(b"evidence").digest()
    return b"\x1f\x8b\x00\xff\n\r" + block * (2 * 1024 * 1024 // len(block))
