#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Render base/evidencerun.yaml from the chart, so that the two ways of installing cannot drift apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
NAMESPACE = "evidencerun-system"
UNKNOWN = "sha256:" + "0" * 64
"""Stands where an overlay puts a digest: no image has it, so a forgotten overlay fails when pulling."""
_HEAD = "# SPDX-License-Identifier: Apache-2.0\n# Written by `make generate` from charts/evidencerun; edits are lost.\n"
_HELMS_OWN = ("helm.sh/chart", "helm.sh/resource-policy")


def _helm(*words: str, stdin: str) -> str:
    tools = [str(REPOSITORY / "deploy/local/tools"), "path", "helm"]
    helm = subprocess.run(tools, capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run([helm, *words], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"helm: {done.stderr.strip()}")
    return done.stdout


def _without_helm(node: Any) -> Any:
    """Drop what only Helm reads, wherever labels and annotations are."""
    if isinstance(node, list):
        return [_without_helm(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _without_helm(value) for key, value in node.items() if key not in _HELMS_OWN}
    if kept.get("app.kubernetes.io/managed-by") == "Helm":
        kept["app.kubernetes.io/managed-by"] = "kustomize"
    return {key: value for key, value in kept.items() if not (key == "annotations" and value == {})}


def rendered() -> str:
    """The text of evidencerun.yaml: the release's namespace, then what the chart renders with its default values."""
    images = {"evidencerun": {"digest": UNKNOWN}, "probe": {"digest": UNKNOWN}}
    words = ("template", "evidencerun", str(REPOSITORY / "charts/evidencerun"), "-n", NAMESPACE, "-f", "-")
    text = _helm(*words, stdin=json.dumps({"images": images}))
    namespace: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    documents = [namespace, *(_without_helm(document) for document in yaml.safe_load_all(text) if document)]
    return _HEAD + yaml.safe_dump_all(documents, sort_keys=False, width=110)


def main() -> int:
    """Write base/evidencerun.yaml."""
    (HERE / "base/evidencerun.yaml").write_text(rendered(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
