# SPDX-License-Identifier: Apache-2.0
"""Cluster up, images built and loaded, chart installed: what `make demo` and `make install-local` share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = REPOSITORY / "build" / "images"
CHART = REPOSITORY / "charts" / "evidencerun"
SYSTEM_NAMESPACE = "evidencerun-system"
RELEASE = "evidencerun"
COMMANDS = {"local": REPOSITORY / "deploy/local/cluster", "kind": REPOSITORY / "deploy/kind/cluster"}
"""Both take `up`, `env` and `load`."""


class DemoError(Exception):
    """A step did not do its part; the message says which and what to look at."""


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    print(f"--- {name}", flush=True)
    begun = time.monotonic()
    yield
    print(f"    {time.monotonic() - begun:.1f} s", flush=True)


def call(words: Sequence[str | Path], *, env: Mapping[str, str] | None = None, stdin: str | None = None) -> None:
    """Run a program with its output on the screen; DemoError if it fails."""
    done = subprocess.run([str(word) for word in words], env=env, input=stdin, text=True, check=False)
    if done.returncode:
        raise DemoError(f"exit code {done.returncode}: {' '.join(str(word) for word in words)}")


def answer(words: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it prints; DemoError with its own words if it fails."""
    done = subprocess.run([str(word) for word in words], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"{' '.join(str(word) for word in words)}: {done.stderr.strip()}")
    return done.stdout


def progress(words: Sequence[str | Path]) -> None:
    """Run a program that says on standard error how far it is; what it prints otherwise is dropped."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise DemoError(f"exit code {done.returncode}: {' '.join(str(word) for word in words)}")


def cluster_command() -> Path:
    """The command of the cluster that EVIDENCERUN_E2E_CLUSTER names: local (default) or kind."""
    flavour = os.environ.get("EVIDENCERUN_E2E_CLUSTER", "local")
    if flavour not in COMMANDS:
        raise DemoError(f"EVIDENCERUN_E2E_CLUSTER is {flavour!r}; expected one of {', '.join(COMMANDS)}")
    return COMMANDS[flavour]


def environment() -> dict[str, str]:
    """This process's environment with what the cluster adds: KUBECONFIG, and kubectl and helm on PATH."""
    exports = answer([cluster_command(), "env"])
    tools = answer([REPOSITORY / "deploy/local/tools", "bin"]).strip()
    script = f'{exports}\nexport PATH="{tools}:$PATH"\nenv -0'
    pairs = answer(["bash", "-c", script]).split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def values() -> dict[str, Any]:
    """Chart values for a cluster on this machine: the digests just built, and volumes that fit its small disks."""
    refs: dict[str, str] = json.loads((IMAGES / "digests.json").read_text(encoding="ascii"))
    split = {name: ref.split("@", 1) for name, ref in refs.items()}
    return {
        "images": {name: {"repository": repository, "digest": digest} for name, (repository, digest) in split.items()},
        "store": {"persistence": {"size": "512Mi"}},
    }


def install(env: Mapping[str, str]) -> None:
    """Apply the CRDs, then install the chart or upgrade it, and wait until all its parts are ready."""
    call(["kubectl", "apply", "--server-side", "--force-conflicts", "-f", REPOSITORY / "crds"], env=env)
    words = ["helm", "upgrade", "--install", RELEASE, str(CHART), "--namespace", SYSTEM_NAMESPACE, "--create-namespace"]
    # The notes tell how to go on elsewhere: here the nodes have no image for the component of quickstart.yaml.
    words += ["--hide-notes", "--values", "-", "--wait", "--timeout", "5m"]
    call(words, env=env, stdin=json.dumps(values()))


def install_all() -> dict[str, str]:
    """Cluster, images, chart; returns the environment for kubectl and helm."""
    with step("a Kubernetes cluster on this machine"):
        # The first time it builds Kubernetes, for minutes.
        progress([cluster_command(), "up", "--nodes", os.environ.get("NODES", "3")])
    env = environment()
    with step("two images, without Docker"):
        call([sys.executable, REPOSITORY / "deploy/images/build.py"])
    with step("images onto the nodes"):
        call([cluster_command(), "load", *sorted(IMAGES.glob("*.tar"))])
    with step("helm install"):
        install(env)
    return env
