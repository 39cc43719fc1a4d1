#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From an empty machine to a verified bundle: cluster, images, chart, component, run, bundle, verification.

Exit code 0 only if the run's verdict is Passed and `evr verify` accepts the bundle. Everything that it leaves is below
build/demo: bundle/, bundle.tar.gz and evidence.pub, with the run and the recipe that they are about. `demo.py install`
stops after the chart.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import yaml  # noqa: E402
from installation import (  # noqa: E402
    IMAGES,
    REPOSITORY,
    DemoError,
    answer,
    call,
    cluster_command,
    install_all,
    step,
)

OUT = REPOSITORY / "build" / "demo"
EXAMPLES = REPOSITORY / "deploy" / "examples"
NAMESPACE = "evidence"
RUN = "quickstart"
EVR = Path(sys.executable).with_name("evr")
OF_CLUSTER = ("EVIDENCERUN_CACHE", "EVIDENCERUN_STATE", "EVIDENCERUN_INSTANCE")
"""Variables that say which cluster is meant."""


def install_component(env: Mapping[str, str]) -> None:
    """Deploy the recipe's one component, from our own image, and wait until it is there."""
    image = json.loads((IMAGES / "digests.json").read_text(encoding="ascii"))["evidencerun"]
    manifest = (EXAMPLES / "demo-web.yaml").read_text(encoding="utf-8").replace("DEMO_WEB_IMAGE", image)
    call(["kubectl", "apply", "-f", "-"], env=env, stdin=manifest)
    words = ["kubectl", "rollout", "status", "-n", "evidence-demo", "deployment/demo-web", "--timeout=120s"]
    call(words, env=env)


def read_run() -> dict[str, Any]:
    """The EvidenceRun of quickstart.yaml alone: the component of that file is a stand-in for other clusters."""
    documents = yaml.safe_load_all((EXAMPLES / "quickstart.yaml").read_text(encoding="utf-8"))
    (run,) = (document for document in documents if document["kind"] == "EvidenceRun")
    found: dict[str, Any] = run
    return found


def write_run() -> Path:
    """Write the run, and its recipe, to build/demo."""
    run = read_run()
    path = OUT / "run.yaml"
    path.write_text(yaml.safe_dump(run, sort_keys=False), encoding="utf-8")
    (OUT / "recipe.yaml").write_text(run["spec"]["recipe"]["inline"], encoding="utf-8")
    return path


def run(env: Mapping[str, str]) -> dict[str, Any]:
    """Apply the run, follow it to its end, and return the object."""
    kubectl_run = ["-n", NAMESPACE, f"evr/{RUN}"]
    call(["kubectl", "delete", *kubectl_run, "--ignore-not-found", "--wait", "--timeout=60s"], env=env)
    manifest = write_run()
    begun = time.monotonic()
    call([EVR, "run", "-f", manifest, "--wait", "--timeout", "15m"], env=env)
    print(f"    from apply to Complete: {time.monotonic() - begun:.1f} s")
    found: dict[str, Any] = json.loads(answer(["kubectl", "get", *kubectl_run, "-o", "json"], env=env))
    return found


def fetch(env: Mapping[str, str]) -> None:
    """Fetch bundle and public key through the API server, and unpack the bundle."""
    call([EVR, "pull", RUN, "-n", NAMESPACE, "-d", OUT, "--key", "--unpack"], env=env)


def verify(env: Mapping[str, str]) -> str:
    """Verify the archive, with the report on the screen, and the directory; return what it claims about hardware."""
    asked: list[str | Path] = ["--key", OUT / "evidence.pub", "--recipe", OUT / "recipe.yaml", "--max-age", "1h"]
    call([EVR, "verify", OUT / "bundle.tar.gz", *asked], env=env)
    report = json.loads(answer([EVR, "verify", OUT / "bundle", *asked, "-o", "json"], env=env))
    print("    the unpacked directory verifies as well")
    return str(report["hardwareClaim"])


def how_to_go_on() -> list[str]:
    """The commands with which a person goes on in the cluster that stays."""
    chosen = [f"export {name}={os.environ[name]}" for name in OF_CLUSTER if name in os.environ]
    return [
        *chosen,
        f'eval "$({cluster_command().relative_to(REPOSITORY)} env)"',
        'export PATH="$PWD/.venv/bin:$(deploy/local/tools bin):$PATH"',
        "kubectl get evr -n evidence; the end: make cluster-down",
    ]


def summary(found: Mapping[str, Any], claim: str) -> None:
    """What came out, in a few lines; DemoError unless the verdict is Passed."""
    status = found["status"]
    print("=== summary")
    for name in ("verdict", "summary"):
        print(f"  {name:10} {status.get(name)}")
    print(f"  {'signer':10} {status['bundle']['signer']}")
    print(f"  {'bundle':10} {OUT / 'bundle.tar.gz'} ({status['bundle']['size']} bytes)")
    print(f"  {'claims':10} {claim}")
    print(f"  {'next':10} {'; '.join(how_to_go_on())}")
    if status.get("verdict") != "Passed":
        raise DemoError(f"the verdict is {status.get('verdict')}, expected Passed")


def demo() -> None:
    """The whole way."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    env = install_all()
    with step("the recipe's component"):
        install_component(env)
    with step("the run"):
        found = run(env)
    with step("fetch the bundle"):
        fetch(env)
    with step("verify it"):
        claim = verify(env)
    summary(found, claim)


def main(arguments: list[str]) -> int:
    """Run the demo, or only the installation."""
    if arguments not in ([], ["install"]):
        print(__doc__, file=sys.stderr)
        return 2
    begun = time.monotonic()
    try:
        if arguments:
            install_all()
        else:
            demo()
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(f"done in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
