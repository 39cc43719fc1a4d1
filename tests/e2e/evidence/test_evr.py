# SPDX-License-Identifier: Apache-2.0
"""`evr` at a terminal and in a pipe: following, Ctrl-C, attaching again, fetching, the plugin of kubectl."""

from __future__ import annotations

import json
import os
import pty
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evidence_lab import DEMO_WEB, RUNS, Evidence, recipe

BIN = Path(sys.executable).parent
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def manifest(evidence: Evidence, tmp_path: Path) -> tuple[str, Path]:
    """The manifest of a run with a name of its own, not created yet."""
    name = f"evr-{secrets.token_hex(3)}"
    text = recipe(components=[DEMO_WEB], checks={"deployment": ["expected-resources", "node-agreement"]})
    document = {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidenceRun",
        "metadata": {"name": name, "namespace": RUNS},
        "spec": {"recipe": {"inline": text}, "deadline": "10m"},
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    evidence.made.append(name)
    return name, path


@pytest.fixture
def evr(evidence: Evidence) -> Callable[..., subprocess.CompletedProcess[str]]:
    """evr(words) runs the program as in a pipe."""

    def run(*words: str | Path, program: str | Path = BIN / "evr", **env: str) -> subprocess.CompletedProcess[str]:
        environment = {**evidence.cluster.environment, "PATH": f"{BIN}:{evidence.cluster.environment['PATH']}", **env}
        return subprocess.run(
            [program, *words], capture_output=True, text=True, env=environment, timeout=330, check=False
        )

    return run


def at_a_terminal(words: list[str | Path], environment: dict[str, str], until: str) -> tuple[int, str]:
    """Run a program at a terminal, interrupt it once it has shown `until`; return exit code and what it showed."""
    ours, theirs = pty.openpty()
    environment = {**environment, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        words,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        # A job in the background ignores SIGINT and its children inherit that; a terminal's child does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    shown, pressed = b"", False
    while piece := _piece(ours):
        shown += piece
        if not pressed and until.encode() in shown:
            process.send_signal(signal.SIGINT)  # what a terminal does at Ctrl-C
            pressed = True
    os.close(ours)
    return process.wait(30), CONTROL.sub("", shown.decode())


def _piece(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux' way to say that the other side is closed
        return b""


def test_ctrl_c_leaves_the_run_going_and_says_how_to_attach_again(
    evidence: Evidence, evr: Any, manifest: tuple[str, Path], tmp_path: Path
):
    name, path = manifest
    words: list[str | Path] = [BIN / "evr", "run", "-f", path, "--wait"]
    code, shown = at_a_terminal(words, dict(evidence.cluster.environment), "Probing")
    assert code == 130, shown
    assert f"Attach again: evr status -n {RUNS} {name} --wait" in shown
    assert "NodesReported" in shown
    done = evr("status", "-n", RUNS, name, "--wait", "--timeout", "5m")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "progress is no result"
    assert "Passed" in done.stderr
    assert "Exit       0 ACCEPTED" in done.stderr
    assert evr("run", "-f", path, "--wait").returncode == 0, "the same manifest again finds the same run"

    assert name in evr("status", "-n", RUNS).stdout
    plugin = evr("evr", "status", "-n", RUNS, name, program="kubectl")
    assert plugin.returncode == 0, plugin.stderr
    assert "Verdict" in plugin.stdout or "Passed" in plugin.stdout
    assert json.loads(evr("status", "-n", RUNS, name, "-o", "json").stdout)["status"]["verdict"] == "Passed"

    done = evr("pull", "-n", RUNS, name, "-d", tmp_path / "got", "--key", "--unpack", "--logs")
    assert done.returncode == 0, done.stderr
    got = tmp_path / "got"
    assert (got / "bundle.tar.gz").read_bytes() == evidence.archive(evidence.get(name))
    assert (got / "evidence-logs.tar.gz").read_bytes() == evidence.logs(evidence.get(name))
    for bundle in ("bundle", "bundle.tar.gz"):
        done = evr("verify", got / bundle, "--key", got / "evidence.pub")
        assert done.returncode == 0, done.stdout


def test_a_changed_manifest_of_the_same_name_is_refused(evr: Any, manifest: tuple[str, Path]):
    name, path = manifest
    assert evr("run", "-f", path).returncode == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    document["spec"]["deadline"] = "11m"
    path.write_text(json.dumps(document), encoding="utf-8")
    done = evr("run", "-f", path, "--wait")
    assert done.returncode == 2
    assert "spec.deadline" in done.stderr
    assert f"kubectl delete evr -n {RUNS} {name}" in done.stderr


WRONG = {
    "no-such-run": (("status", "-n", RUNS, "no-such-run"), 2, "namespace evidence has no EvidenceRun no-such-run"),
    "nothing-to-pull": (("pull", "-n", RUNS, "no-such-run"), 2, "namespace evidence has no EvidenceRun no-such-run"),
    "no-such-file": (("run", "-f", "no-such-file.yaml"), 2, "no-such-file.yaml"),
    "no-such-bundle": (("verify", "no-such-bundle"), 2, "the bundle cannot be read"),
    "no-such-context": (("status", "--context", "elsewhere"), 2, "the kubeconfig has no context 'elsewhere'"),
    "no-such-kubeconfig": (("status", "--kubeconfig", "no-such-file"), 2, "no usable kubeconfig"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(evr: Any, name: str):
    words, code, said = WRONG[name]
    done = evr(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cluster_that_does_not_answer_is_no_verdict(evidence: Evidence, evr: Any, tmp_path: Path):
    text = evidence.cluster.kubeconfig.read_text(encoding="utf-8")
    dead = tmp_path / "kubeconfig"
    dead.write_text(re.sub(r":6443\b", ":6", text), encoding="utf-8")
    done = evr("status", KUBECONFIG=str(dead))
    assert done.returncode == 30
    assert "does not answer" in done.stderr


def test_a_missing_permission_is_named(evidence: Evidence, evr: Any, tmp_path: Path):
    token = evidence.cluster.kubectl("create", "token", "-n", RUNS, "default").stdout.strip()
    config = evidence.cluster.kubectl("config", "view", "--raw", "-o", "json").stdout
    document = json.loads(config)
    document["users"] = [{"name": user["name"], "user": {"token": token}} for user in document["users"]]
    mine = tmp_path / "kubeconfig"
    mine.write_text(json.dumps(document), encoding="utf-8")
    done = evr("status", "-n", RUNS, KUBECONFIG=str(mine))
    assert done.returncode == 41
    assert "evidenceruns" in done.stderr
    assert "list" in done.stderr
