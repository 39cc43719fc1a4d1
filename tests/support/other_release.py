# SPDX-License-Identifier: Apache-2.0
"""Another release of the product: the images of this checkout with one more label, so that their digests are others."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evidence_lab import SYSTEM

REPOSITORY = Path(__file__).resolve().parents[2]


def _module(folder: str, name: str) -> Any:
    place = str(REPOSITORY / "deploy" / folder)
    if place not in sys.path:
        sys.path.insert(0, place)
    return importlib.import_module(name)


def build(out: Path) -> dict[str, str]:
    """Write archives of both images below `out` and return the chart's names of them with their references."""
    layers, archive, rootfs, spec = (
        _module("images", name) for name in ("layers", "ociarchive", "rootfs", "imagespec")
    )
    cache, refs = rootfs.default_cache(), {}
    for image in spec.IMAGES:
        parts = [
            layers.base_layer(cache),
            layers.requirements_layer(image, cache),
            layers.code_layer(image, cache),
        ]
        name = f"{spec.REGISTRY}/{image.name}"
        fields = {"user": f"{spec.UID}:{spec.UID}", "env": spec.ENVIRONMENT, "labels": {"release": "other"}}
        digest = archive.write(parts, f"{name}:other", out / f"{image.name}.tar", entrypoint=image.entrypoint, **fields)
        refs[image.name.removeprefix("evidencerun-")] = f"{name}@{digest}"
    return refs


class Release:
    """The installed Helm release; `upgrade` takes values on top of those that it was installed with."""

    def __init__(self) -> None:
        self._installation = _module("demo", "installation")
        self._environment = self._installation.environment()
        words = ["helm", "get", "values", self._installation.RELEASE, "--namespace", SYSTEM, "--output", "json"]
        self.values: dict[str, Any] = json.loads(self._installation.answer(words, env=self._environment))

    def upgrade(self, values: Mapping[str, Any]) -> None:
        """Upgrade to these values, and wait until all parts of the product are ready."""
        chart, name = str(self._installation.CHART), self._installation.RELEASE
        words = ["helm", "upgrade", name, chart, "--namespace", SYSTEM, "--values", "-", "--wait", "--timeout", "5m"]
        text, environment = json.dumps({**self.values, **values}), self._environment
        done = subprocess.run(words, input=text, capture_output=True, text=True, env=environment, timeout=400)
        if done.returncode:
            raise AssertionError(f"helm upgrade: exit {done.returncode}\n{done.stdout}{done.stderr}")

    def use(self, refs: Mapping[str, str]) -> None:
        """Upgrade to these images."""
        split = {name: ref.split("@", 1) for name, ref in refs.items()}
        self.upgrade({"images": {name: {"repository": repo, "digest": dig} for name, (repo, dig) in split.items()}})
