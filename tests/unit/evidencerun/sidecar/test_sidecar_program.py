# SPDX-License-Identifier: Apache-2.0
"""The sidecar as a program: inputs, a result, SIGTERM, against a store of a few lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BASE = "/v1/runs/run"


@dataclass
class Store:
    """Gives inputs and keeps results by their path."""

    url: str = ""
    missing: set[str] = field(default_factory=set)
    results: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def _serving(store: Store) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def _end(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            name = self.path.removeprefix(f"{BASE}/inputs/")
            missing = name in store.missing
            store.missing.discard(name)
            self._end(404 if missing else 200, b"{}" if missing else f"# {name}\n".encode())

        def do_PUT(self) -> None:
            store.results[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self._end(201, b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    with _serving(made):
        yield made


@contextmanager
def _sidecar(store: Store, folder: Path, **changes: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "token").write_text("the.token")
    (folder / "results").mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "EVIDENCERUN_STORE_URL": store.url,
        "EVIDENCERUN_RUN_UID": "run",
        "EVIDENCERUN_CHECK": "node-agreement",
        "EVIDENCERUN_ATTEMPT": "1",
        "EVIDENCERUN_TOKEN_FILE": str(folder / "token"),
        "EVIDENCERUN_DATA": str(folder / "data"),
        "EVIDENCERUN_RESULTS": str(folder / "results"),
        "EVIDENCERUN_READY_FILE": str(folder / "ready"),
        "AICR_CHECK_TIMEOUT": "5m0s",
    }
    program = subprocess.Popen(
        [sys.executable, "-m", "evidencerun.sidecar.main"],
        env=environ | changes,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield program
    finally:
        program.kill()
        program.wait()
        assert program.stdout
        program.stdout.close()


def _until(program: subprocess.Popen[str], step: str) -> list[dict[str, Any]]:
    assert program.stdout
    lines: list[dict[str, Any]] = []
    for line in program.stdout:
        lines.append(json.loads(line))
        if lines[-1]["step"] == step:
            return lines
    raise AssertionError(f"the program ended before the step {step}: {lines}")


def test_inputs_come_before_ready_and_results_leave_at_the_end(store: Store, tmp_path: Path) -> None:
    with _sidecar(store, tmp_path) as program:
        _until(program, "ready")
        assert (tmp_path / "ready").exists()
        assert (tmp_path / "data/recipe/recipe.yaml").read_text() == "# recipe.yaml\n"
        assert (tmp_path / "data/nodes/nodes.json").exists()
        (tmp_path / "results/ctrf.json").write_text("{}")
        program.terminate()
        assert _until(program, "ended")[-1]["complete"] is True
        assert program.wait(timeout=60) == 0
    folder = f"{BASE}/checks/node-agreement/1"
    assert store.results[f"{folder}/ctrf.json"] == b"{}"
    listing = json.loads(store.results[f"{folder}/_sidecar.json"])
    assert listing["moment"] == "end"
    assert [item["name"] for item in listing["uploaded"]] == ["ctrf.json"]
    assert set(listing["inputs"]) == {"recipe.yaml", "snapshot.yaml", "validation.yaml", "nodes.json"}


def test_results_leave_while_the_check_runs(store: Store, tmp_path: Path) -> None:
    with _sidecar(store, tmp_path) as program:
        _until(program, "ready")
        (tmp_path / "results/early.json").write_text("1")
        assert _until(program, "uploaded")[-1]["file"] == "early.json"
    assert store.results[f"{BASE}/checks/node-agreement/1/early.json"] == b"1"


def test_an_input_that_is_not_there_yet_is_waited_for(store: Store, tmp_path: Path) -> None:
    store.missing.add("snapshot.yaml")
    with _sidecar(store, tmp_path) as program:
        steps = [(line["step"], line.get("file")) for line in _until(program, "ready")]
    assert ("input-failed", "snapshot.yaml") in steps


def test_sigterm_before_ready_ends_it(store: Store, tmp_path: Path) -> None:
    with _sidecar(store, tmp_path, EVIDENCERUN_STORE_URL="http://127.0.0.1:1") as program:
        _until(program, "input-failed")
        program.terminate()
        assert _until(program, "stopped-before-ready")
        assert program.wait(timeout=60) == 1
    assert not (tmp_path / "ready").exists()


def test_wrong_settings_are_an_exit_with_its_reason(store: Store, tmp_path: Path) -> None:
    with _sidecar(store, tmp_path, EVIDENCERUN_CHECK="") as program:
        assert "EVIDENCERUN_CHECK" in _until(program, "failed")[-1]["error"]
        assert program.wait(timeout=60) == 1
