# SPDX-License-Identifier: Apache-2.0
"""`evr run` and `kubectl apply` on the same manifest, in either order, on a real API server."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EVR = Path(sys.executable).with_name("evr")
NAMESPACE = "evr-and-kubectl"
# What Go's encoder of JSON escapes, and what it does not: kubectl compares the bytes.
RECIPE = "apiVersion: aicr.run/v1\nkind: RecipeResult\n# <é> & \u2028 \"quoted\" 'text'\t\\\n"


@pytest.fixture(scope="module")
def server(api_server: Any) -> Any:
    """The API server with our kinds and a namespace for this module's runs."""
    api_server.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    api_server.kubectl("wait", "--for=condition=Established", "crd/evidenceruns.evidencerun.dev", "--timeout=30s")
    api_server.kubectl("create", "namespace", NAMESPACE)
    return api_server


class Manifest:
    """The file of a run with a name of its own, which a test may change."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self.name = f"run-{secrets.token_hex(3)}"
        self.path = folder / "run.yaml"
        self.spec: dict[str, Any] = {"recipe": {"inline": RECIPE}, "deadline": "10m", "target": {"maxNodes": 3}}
        self.write()

    def write(self, **changes: Any) -> None:
        """Write the file; a field that is None is taken out."""
        self.spec = {key: value for key, value in {**self.spec, **changes}.items() if value is not None}
        document = {
            "apiVersion": "evidencerun.dev/v1alpha1",
            "kind": "EvidenceRun",
            "metadata": {"name": self.name, "namespace": NAMESPACE, "labels": {"team": "a"}},
            "spec": self.spec,
        }
        self.path.write_text(json.dumps(document), encoding="utf-8")

    def evr(self) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.server.kubeconfig)}
        words = [EVR, "run", "-f", self.path]
        return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)

    def kubectl(self, *words: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self.server.kubectl(*words, "-f", str(self.path), check=False)
        return done


@pytest.fixture
def manifest(server: Any, tmp_path: Path) -> Manifest:
    return Manifest(server, tmp_path)


def test_kubectl_goes_on_where_evr_began(manifest: Manifest) -> None:
    assert manifest.evr().returncode == 0
    same = manifest.kubectl("apply")
    assert (same.returncode, same.stderr) == (0, ""), "no warning about an annotation"
    assert same.stdout == f"evidencerun.evidencerun.dev/{manifest.name} unchanged\n"


@pytest.mark.parametrize(("change", "field"), [({"deadline": "11m"}, "deadline"), ({"deadline": None}, "deadline")])
def test_kubectl_sees_what_changed_since_evr_began(manifest: Manifest, change: dict[str, Any], field: str) -> None:
    assert manifest.evr().returncode == 0
    manifest.write(**change)
    done = manifest.kubectl("apply")
    assert done.returncode == 1
    assert f"spec.{field} cannot be added, changed or removed after creation; make a new EvidenceRun" in done.stderr


def test_evr_goes_on_where_kubectl_began(manifest: Manifest) -> None:
    assert manifest.kubectl("apply").returncode == 0
    done = manifest.evr()
    assert done.returncode == 0, done.stderr
    assert "is there already, with the same spec; nothing was created" in done.stderr


@pytest.mark.parametrize("change", [{"deadline": "11m"}, {"deadline": None}, {"logs": "bundled"}])
def test_evr_sees_what_changed_since_kubectl_began(manifest: Manifest, change: dict[str, Any]) -> None:
    assert manifest.kubectl("apply").returncode == 0
    manifest.write(**change)
    done = manifest.evr()
    assert done.returncode == 2
    assert f"spec.{next(iter(change))}" in done.stderr
    assert f"kubectl delete evr -n {NAMESPACE} {manifest.name}" in done.stderr


def test_a_cancel_by_apply_and_by_patch_are_the_same_run(manifest: Manifest) -> None:
    assert manifest.evr().returncode == 0
    manifest.write(cancel=True)
    assert manifest.kubectl("apply").returncode == 0
    manifest.write(cancel=None)
    assert manifest.evr().returncode == 0, "the run that was cancelled is the one of this manifest"


def test_server_side_apply_goes_on_as_well(manifest: Manifest) -> None:
    assert manifest.evr().returncode == 0
    done = manifest.kubectl("apply", "--server-side")
    assert done.returncode == 0, done.stderr
    manifest.write(deadline="11m")
    assert manifest.kubectl("apply", "--server-side").returncode == 1


def test_a_recipe_that_leaves_no_room_for_the_annotation_is_created_without_it(manifest: Manifest) -> None:
    manifest.write(recipe={"inline": "#" + "\n" * 131_000})
    done = manifest.evr()
    assert done.returncode == 0, done.stderr
    found = manifest.server.kubectl("get", "evr", "-n", NAMESPACE, manifest.name, "-o", "json").stdout
    assert "annotations" not in json.loads(found)["metadata"]
