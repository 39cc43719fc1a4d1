# SPDX-License-Identifier: Apache-2.0
"""A check image of the tests' own, whose one program does what its first argument says, and policies that offer it.

The image is the base layer of the project's images with one file on top, so that building it takes a second.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "evidencerun.local/trial-check"
PROGRAM = """
import os, pathlib, signal, socket, sys, time

word, results = sys.argv[1], pathlib.Path("/results")
attempt = int(socket.gethostname().split("-")[-2])
print(f"trial check {word}, attempt {attempt}", flush=True)


def state(reason):
    pathlib.Path("/dev/termination-log").write_text(reason)


def stop(*_):
    print("told to stop", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
if word == "pass":
    print("looked at one thing, found it right")
elif word == "fail":
    state("found 1, expected 2")
    sys.exit(1)
elif word == "skip":
    state("nothing to look at")
    sys.exit(2)
elif word == "panic":
    print("panic: runtime error: index out of range [3] with length 3", file=sys.stderr, flush=True)
    sys.exit(2)
elif word == "exit3":
    sys.exit(3)
elif word == "oom":
    held = []
    while True:
        held.append(os.urandom(1 << 20))
elif word == "hang":
    (results / "partial.json").write_text('{"looked-at": 17}')
    while True:
        print("still at it", flush=True)
        time.sleep(1)
elif word == "flaky":
    if attempt == 1:
        state("the first attempt fails")
        sys.exit(1)
elif word == "slow":
    time.sleep(15)
elif word == "chatty":
    for number in range(60_000):
        print(f"line {number} {os.urandom(40).hex()}")
elif word == "gate":
    while not os.path.exists("/tmp/go"):
        time.sleep(0.1)
    print("the gate is open", flush=True)
else:
    sys.exit(f"unknown word {word}")
"""


def build(out: Path, *, cache: Path | None = None) -> str:
    """Write the image's archive `out` and return its reference by digest."""
    folder = str(REPOSITORY / "deploy/images")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    layers, archive, rootfs = (importlib.import_module(name) for name in ("layers", "ociarchive", "rootfs"))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        program = root / "app/trial.py"
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM, encoding="utf-8")
        for path, mode in ((root, 0o755), (program.parent, 0o755), (program, 0o644)):
            path.chmod(mode)
        base = layers.base_layer(cache or rootfs.default_cache())
        run = {"entrypoint": ["/usr/bin/python3", "/app/trial.py"], "user": "65532:65532"}
        digest = archive.write([base, root], f"{NAME}:1", out, **run)
    return f"{NAME}@{digest}"


def entry(name: str, image: str, **fields: Any) -> dict[str, Any]:
    """A catalog entry whose check does what its name says, unless `args` says otherwise."""
    small = {"cpu": "100m", "memory": "64Mi"}
    return {
        "name": name,
        "phase": "deployment",
        "image": image,
        "args": [name],
        "timeout": "3m",
        "rights": "none",
        "resources": small,
        **fields,
    }


def policy(name: str, catalog: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    """An EvidencePolicy with one pool of all nodes; `spec` adds to it or replaces what is in it."""
    pools = [{"name": "any", "nodeSelector": {}, "fallback": True}]
    return {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidencePolicy",
        "metadata": {"name": name},
        "spec": {"pools": pools, "catalog": catalog, **spec},
    }
