# SPDX-License-Identifier: Apache-2.0
"""Watches a run while a test goes on, and notes when something became visible to people for the first time."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evidence_lab import CHECKS, RUNS

EVR = Path(sys.executable).parent / "evr"


def moment(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time of the API (whole seconds)."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


class Watch:
    """Polls `kubectl get -o wide` of one run, and its check pods; use as a context manager.

    `lines` holds (time, line) whenever the line has changed; `pods` the last object seen of each pod by its name, and
    `blocked` the time at which a container was first seen waiting for its image.
    """

    def __init__(self, cluster: Any, name: str, uid: str) -> None:
        self._cluster, self._name, self._uid = cluster, name, uid
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(look,)) for look in (self._look_run, self._look_pods)]
        self.lines: list[tuple[float, str]] = []
        self.pods: dict[str, dict[str, Any]] = {}
        self.blocked: dict[str, float] = {}

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, look: Any) -> None:
        while not self._over.wait(0.3):
            look()

    def _kubectl(self, *words: str) -> str:
        done = subprocess.run(["kubectl", *words], capture_output=True, text=True, env=self._cluster.environment)
        return done.stdout

    def _look_run(self) -> None:
        line = self._kubectl("get", "evr", "-n", RUNS, self._name, "-o", "wide", "--no-headers").strip()
        if line and (not self.lines or self.lines[-1][1] != line):
            self.lines.append((time.time(), line))

    def _look_pods(self) -> None:
        found = self._kubectl("get", "pods", "-n", CHECKS, "-l", f"evidencerun.dev/run-uid={self._uid}", "-o", "json")
        for pod in json.loads(found)["items"] if found else []:
            name = pod["metadata"]["name"]
            self.pods[name] = pod
            waiting = _validator(pod).get("state", {}).get("waiting", {})
            if "mage" in waiting.get("reason", ""):
                self.blocked.setdefault(name, time.time())

    def first(self, words: str) -> float:
        """When `kubectl get -o wide` showed these words first; fails if it never did."""
        found = [when for when, line in self.lines if words in line]
        assert found, f"{words!r} was never visible; seen:\n" + "\n".join(line for _, line in self.lines)
        return found[0]

    def pod(self, check: str, attempt: int = 1) -> dict[str, Any]:
        """The last that was seen of the pod of an attempt."""
        labels = {"evidencerun.dev/check": check, "evidencerun.dev/attempt": str(attempt)}
        found = [p for p in self.pods.values() if labels.items() <= p["metadata"]["labels"].items()]
        assert len(found) == 1, f"{check}, attempt {attempt}: {[p['metadata']['name'] for p in found]}"
        return found[0]

    def terminated(self, check: str, attempt: int = 1) -> dict[str, Any]:
        """The terminated state of the container of an attempt."""
        state: dict[str, Any] = _validator(self.pod(check, attempt))["state"]["terminated"]
        return state


def _validator(pod: Mapping[str, Any]) -> dict[str, Any]:
    entries = pod.get("status", {}).get("containerStatuses", [])
    return next((entry for entry in entries if entry["name"] == "validator"), {})


def archive_texts(data: bytes) -> dict[str, str]:
    """The files of a tar.gz as text."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {m.name: archive.extractfile(m).read().decode() for m in members}  # type: ignore[union-attr]


def evr_status(cluster: Any, name: str) -> str:
    """What `evr status` prints for a run."""
    words = [str(EVR), "status", name, "-n", RUNS]
    return subprocess.run(words, capture_output=True, text=True, env=cluster.environment, check=True).stdout
