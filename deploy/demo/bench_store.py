#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure what store and sealer do with a run of 5,000 nodes, each step in a process of its own.

`bench_store.py [NODES]`. Seconds are those of the processor, so that other work on the machine counts less; the peak
is that of the whole process, with the store's code loaded.
"""

from __future__ import annotations

import base64
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.dont_write_bytecode = True
REPOSITORY = Path(__file__).resolve().parents[2]
OUT = REPOSITORY / "build" / "bench" / "store.json"
NODES = 5000
SYSCTLS = 280
FUNCTIONS = 80
STEPS = ("evaluate", "assemble", "seal", "finish")


def work(step: str, path: Path) -> Callable[[], object]:
    """Return one step of the run in `path`, with everything imported."""
    from evidencerun.canonical import sha256_prefixed
    from evidencerun.sealer.sealing import seal
    from evidencerun.signers.key import own_key
    from evidencerun.store import app
    from evidencerun.store.assembling import assemble_bundle, finish_bundle
    from evidencerun.store.evaluating import evaluate
    from evidencerun.store.probe_images import SeenImages
    from evidencerun.store.public_keys import PublicKeys
    from evidencerun.store.run_folder import RunFolder, SealOrder
    from evidencerun.store.runs import load_run
    from evidencerun.validation.storeapi import SealRequest, SealTask

    assert app.__doc__  # loaded as in the store; the sealer's own process is smaller by it
    folder, keys = RunFolder(path), path.parent
    order = SealOrder(request=SealRequest.model_validate({"reason": "cancelled"}), sealed_at="2026-11-24T00:03:00Z")

    def evaluated() -> object:
        return evaluate(folder, stragglers={}, taken_at="2026-11-24T00:02:00Z", images=SeenImages(images=[]))

    def sealed() -> object:
        manifest = folder.read("bundle/manifest")
        task = SealTask(
            run_uid=path.name,
            manifest_digest=sha256_prefixed(manifest),
            oci_manifest=base64.b64encode(manifest).decode(),
            signing_mode="key",
        )
        return (keys / "attestation").write_bytes(seal(task, folder.read("bundle/layer"), own_key(keys / "key")))

    def finished() -> object:
        run, known = load_run(path), PublicKeys(keys / "public")
        run.order = order
        known.load()
        known.add(own_key(keys / "key").public_pem)
        assert run.facts
        return finish_bundle(run, run.facts, (keys / "attestation").read_bytes(), known)

    works: dict[str, Callable[[], object]] = {
        "evaluate": evaluated,
        "assemble": lambda: assemble_bundle(load_run(path), order),
        "seal": sealed,
        "finish": finished,
    }
    return works[step]


def measure_here(step: str, path: Path) -> None:
    """Do one step in this process and print its figures as JSON."""
    wanted = work(step, path)
    begun = time.process_time()
    wanted()
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"step": step, "cpuSeconds": round(seconds, 1), "peakMiB": round(peak)}))


def main(arguments: list[str]) -> int:
    """Put a run onto a volume of its own, and do one step after the other."""
    if arguments[:1] == ["--one"]:
        measure_here(arguments[1], Path(arguments[2]))
        return 0
    nodes = int(arguments[0]) if arguments else NODES
    sys.path.insert(0, str(REPOSITORY / "tests" / "support"))
    put_run = importlib.import_module("large_run").put_run
    rows = []
    with tempfile.TemporaryDirectory() as place:
        path = put_run(Path(place), nodes=nodes, sysctls=SYSCTLS, functions=FUNCTIONS)
        print(f"{nodes} nodes, {SYSCTLS} settings and {FUNCTIONS} PCI functions each", flush=True)
        for step in STEPS:
            words = [sys.executable, __file__, "--one", step, str(path)]
            rows.append(json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout))
            print("{step:9} {cpuSeconds:6.1f} s   peak {peakMiB:5} MiB".format(**rows[-1]), flush=True)
        size = (path / "evaluation" / "nodes.json").stat().st_size
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(
        json.dumps({"nodes": nodes, "nodesJsonBytes": size, "steps": rows}, indent=2) + "\n", encoding="ascii"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
