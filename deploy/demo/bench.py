#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure runs of the quickstart's recipe on the local cluster: seconds per state, memory, sizes of images.

`bench.py [RUNS]`, 5 by default; medians are printed, and written to build/bench/run.json with every single value.
Times are those at which a watch reports the state: they hold the API server's delay, and kubectl's start in the first.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from demo import NAMESPACE, install_component, read_run  # noqa: E402
from installation import IMAGES, REPOSITORY, SYSTEM_NAMESPACE, DemoError, answer, call, install_all, step  # noqa: E402

OUT = REPOSITORY / "build" / "bench" / "run.json"
PATIENCE = "300s"


def one_run(env: Mapping[str, str], name: str) -> dict[str, float]:
    """Create a run and return how many seconds it was in each state, and `total` from its creation to Complete."""
    run = read_run()
    run["metadata"]["name"] = name
    words = ["kubectl", "get", "evr", "-n", NAMESPACE, "--watch", "--request-timeout", PATIENCE]
    words += ["--field-selector", f"metadata.name={name}", "-o"]
    words += ['jsonpath={.status.phase}{" "}{.status.verdict}{"\\n"}']
    watch = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
    call(["kubectl", "create", "-f", "-"], env=env, stdin=json.dumps(run))
    try:
        return _times(watch)
    finally:
        watch.kill()
        call(["kubectl", "delete", "evr", "-n", NAMESPACE, name, "--wait=false"], env=env)


def _times(watch: subprocess.Popen[str]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    begun = since = time.monotonic()
    state = "Pending"
    assert watch.stdout is not None
    for line in watch.stdout:
        phase, _, verdict = line.strip().partition(" ")
        now = time.monotonic()
        if phase == state or not phase:
            continue
        seconds[state] = seconds.get(state, 0.0) + now - since
        state, since = phase, now
        if phase == "Finished":
            if verdict != "Passed":
                raise DemoError(f"the run ended {verdict}, so its times say nothing")
            return seconds | {"total": now - begun}
    raise DemoError(f"the watch ended in state {state} after {time.monotonic() - begun:.0f} s")


def memory(env: Mapping[str, str]) -> dict[str, float]:
    """Working sets of the standing pods, in MiB, as the kubelets report them."""
    found: dict[str, float] = {}
    nodes = answer(["kubectl", "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"], env=env).split()
    for node in nodes:
        stats = json.loads(answer(["kubectl", "get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"], env=env))
        for pod in stats["pods"]:
            if pod["podRef"]["namespace"] == SYSTEM_NAMESPACE:
                part = "-".join(pod["podRef"]["name"].split("-")[:2])
                found[part] = round(pod["memory"]["workingSetBytes"] / 2**20, 1)
    return found


def measure(env: Mapping[str, str], count: int) -> dict[str, Any]:
    """All figures."""
    stamp = int(time.time())
    runs = []
    for number in range(count):
        runs.append(one_run(env, f"bench-{stamp}-{number}"))
        print("  " + "  ".join(f"{state} {value:.1f} s" for state, value in runs[-1].items()), flush=True)
    states = list(dict.fromkeys(state for run in runs for state in run))
    return {
        "runs": runs,
        "medianSeconds": {state: round(statistics.median(run.get(state, 0.0) for run in runs), 2) for state in states},
        "memoryMiB": memory(env),
        "imageMB": {path.name: round(path.stat().st_size / 1e6, 1) for path in sorted(IMAGES.glob("*.tar"))},
    }


def main(arguments: list[str]) -> int:
    """Install, measure, print."""
    count = int(arguments[0]) if arguments else 5
    try:
        env = install_all()
        with step("the recipe's component"):
            install_component(env)
        with step(f"{count} runs, one after the other"):
            figures = measure(env, count)
    except DemoError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=2) + "\n", encoding="ascii")
    for name in ("medianSeconds", "memoryMiB", "imageMB"):
        print(f"{name}: {json.dumps(figures[name])}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
