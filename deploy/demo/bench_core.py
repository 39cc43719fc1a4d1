#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the pure core, without a cluster: each subject in processes of its own, so that its peak memory is its own.

`bench_core.py [ROUNDS]`, 5 by default; medians with minimum and maximum are printed and written to
build/bench/core.json. The largest example recipe is found below EVIDENCERUN_TEST_DATA or ../shared/data; without real
data the recipe of quickstart.yaml stands in, and the line says so.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

sys.dont_write_bytecode = True
REPOSITORY = Path(__file__).resolve().parents[2]
OUT = REPOSITORY / "build" / "bench" / "core.json"
SYSCTLS = 280
NODES = 5000
Work = Callable[[], object]


def _test_module(name: str) -> ModuleType:
    """The builders of the unit tests compose nodes and runs; a benchmark of its own inputs would drift from them."""
    support = str(REPOSITORY / "tests" / "support")
    if support not in sys.path:
        sys.path.insert(0, support)
    return importlib.import_module(name)


def _largest_recipe() -> tuple[bytes, str]:
    data = Path(os.environ.get("EVIDENCERUN_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    found = sorted(data.glob("aicr/*/examples/recipes/*.yaml"), key=lambda path: path.stat().st_size)
    if found:
        return found[-1].read_bytes(), found[-1].name
    import yaml

    documents = (REPOSITORY / "deploy/examples/quickstart.yaml").read_text(encoding="utf-8").split("\n---\n")
    run = next(doc for doc in map(yaml.safe_load, documents) if doc["kind"] == "EvidenceRun")
    return run["spec"]["recipe"]["inline"].encode(), "quickstart (no real data found)"


def recipe_digest() -> tuple[Work, str]:
    """The v3 digest of the largest example recipe, from its bytes."""
    from evidencerun.canonical import RecipePredicate, canonical_recipe_digest

    text, name = _largest_recipe()
    return lambda: canonical_recipe_digest(text, RecipePredicate.V3), f"{name}, {len(text)} bytes"


def merge_reports() -> tuple[Work, str]:
    """5,000 node reports to snapshot, fingerprint and the snapshot's bytes."""
    builder = _test_module("cluster_builder").ClusterBuilder()
    from evidencerun.fingerprint import fingerprint

    sysctls = {f"/proc/sys/kernel/setting{number}": str(number) for number in range(SYSCTLS)}
    entries = [
        builder.node(number, pci=builder.gpus("2330"), readings={"OS.sysctl": sysctls}) for number in range(NODES)
    ]
    nodes = builder.nodes(*entries)

    def work() -> object:
        snapshot = builder.snapshot(nodes)
        found = fingerprint(snapshot, nodes)
        return snapshot.with_fingerprint(found.to_dict()).to_yaml()

    return work, f"{NODES} reports of 8 GPUs and {SYSCTLS} sysctls"


def build_bundle() -> tuple[Work, str]:
    """Assemble one typical bundle from its inputs."""
    from evidencerun.bundle.assemble import assemble

    inputs = _test_module("composed_run").ComposedRun().inputs()
    return lambda: assemble(inputs), "2 nodes, 2 checks"


def read_bundle() -> tuple[Work, str]:
    """Read the archive of one typical bundle and answer all seven questions."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from evidencerun.attest.statement import signed_payload
    from evidencerun.bundle import layout
    from evidencerun.bundle.archive import read_archive, write_archive
    from evidencerun.bundle.assemble import assemble
    from evidencerun.verify.run import verify_bundle

    composed = _test_module("composed_run")
    key = composed.SigningKey(private=ec.generate_private_key(ec.SECP256R1()))
    bundle = assemble(composed.ComposedRun().inputs())
    payload = signed_payload(bundle.files, bundle.manifest_digest)
    archive = write_archive({**bundle.files, layout.ATTESTATION: key.sign(payload)}, 0)
    now = datetime(2026, 9, 21, tzinfo=UTC)

    def work() -> object:
        report = verify_bundle(read_archive(archive), now=now, key_pem=key.pem)
        assert report.exit_code == 0, "a bundle that is refused at once would look fast"
        return report

    return work, f"{len(archive)} bytes"


SUBJECTS = {work.__name__: work for work in (recipe_digest, merge_reports, build_bundle, read_bundle)}


def measure_here(name: str) -> None:
    """Run one subject once in this process (after one unmeasured call) and print its figures as JSON."""
    work, subject = SUBJECTS[name]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"subject": subject, "ms": seconds * 1000, "peakMiB": peak / 1024, "inputsMiB": before / 1024}))


def main(arguments: list[str]) -> int:
    """Measure all subjects, round by round, so that noise falls on all of them."""
    if arguments[:1] == ["--one"]:
        measure_here(arguments[1])
        return 0
    rounds = int(arguments[0]) if arguments else 5
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SUBJECTS}
    for _ in range(rounds):
        for name, values in found.items():
            done = subprocess.run([sys.executable, __file__, "--one", name], stdout=subprocess.PIPE, check=True)
            values.append(json.loads(done.stdout))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="ascii")
    for name, values in found.items():
        times = [value["ms"] for value in values]
        peak = statistics.median(value["peakMiB"] for value in values)
        print(
            f"{name:14} median {statistics.median(times):9.2f} ms  ({min(times):.2f} to {max(times):.2f})"
            f"   peak {peak:6.0f} MiB   {values[0]['subject']}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
