# SPDX-License-Identifier: Apache-2.0
"""The probe as a program: from its start to SIGTERM, against a store of a few lines."""

from __future__ import annotations

import gzip
import hashlib
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
from typing import TYPE_CHECKING, Any

import pytest

from evidencerun.snapshot.report import NodeReport

if TYPE_CHECKING:
    from tests.unit.evidencerun.probe.conftest import Machine


@dataclass
class Store:
    """Keeps what was put; answers the first `failures` requests with 503."""

    failures: int = 0
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


@contextmanager
def _serving(store: Store) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            store.tokens.append(self.headers["Authorization"])
            if len(store.tokens) <= store.failures:
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            store.bodies.append(body)
            answer = json.dumps({"sha256": hashlib.sha256(gzip.decompress(body)).hexdigest()}).encode()
            self.send_response(201)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

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
def _probe(environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    program = subprocess.Popen(
        [sys.executable, "-m", "evidencerun.probe.main"],
        env={"PATH": os.environ["PATH"]} | environ,
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
    """Read the program's log up to a step; its end before that fails the test."""
    assert program.stdout
    lines: list[dict[str, Any]] = []
    for line in program.stdout:
        lines.append(json.loads(line))
        if lines[-1]["step"] == step:
            return lines
    raise AssertionError(f"the program ended before the step {step}: {lines}")


def environment(machine: Machine, store: Store, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text("the.token")
    return {
        "EVIDENCERUN_ROOT": str(machine.root),
        "EVIDENCERUN_ACKED_FILE": str(tmp_path / "acked"),
        "EVIDENCERUN_TOKEN_FILE": str(tmp_path / "token"),
        "EVIDENCERUN_STORE_URL": store.url,
        "EVIDENCERUN_RUN_UID": "run",
        "EVIDENCERUN_NODES": "1",
        "EVIDENCERUN_DEADLINE": "2999-01-01T00:00:00Z",
        "NODE_NAME": "node1",
    }


def test_report_is_delivered_then_sigterm_ends_it_at_once(machine: Machine, store: Store, tmp_path: Path) -> None:
    machine.pci("0000:01:00.0", "10de:2330:10de:16c1", "030200", driver="nvidia")
    (tmp_path / "acked").touch()
    with _probe(environment(machine, store, tmp_path)) as program:
        log = _until(program, "acknowledged")
        assert (tmp_path / "acked").exists()
        program.terminate()
        assert program.wait(timeout=60) == 0
    report = NodeReport.model_validate_json(gzip.decompress(store.bodies[0]))
    assert (report.run_uid, report.node_name, report.probe.access) == ("run", "node1", "auto")
    assert [device.device for device in report.pci] == ["2330"]
    assert {line["name"]: line["state"] for line in log if line["step"] == "source"}["nvml"] == "absent"
    assert store.tokens == ["Bearer the.token"]
    assert "the.token" not in json.dumps(log)


def test_a_store_that_is_not_ready_is_tried_again(machine: Machine, store: Store, tmp_path: Path) -> None:
    store.failures = 1
    with _probe(environment(machine, store, tmp_path)) as program:
        steps = [line["step"] for line in _until(program, "acknowledged")]
    assert "upload-failed" in steps
    assert len(store.bodies) == 1


@pytest.mark.parametrize(
    "changes", [{"NODE_NAME": ""}, {"EVIDENCERUN_STORE_URL": "http://elsewhere"}, {"EVIDENCERUN_DEADLINE": "soon"}]
)
def test_wrong_settings_end_in_a_log_line_not_in_a_crash_loop(
    machine: Machine, store: Store, tmp_path: Path, changes: dict[str, str]
) -> None:
    with _probe(environment(machine, store, tmp_path) | changes) as program:
        last = _until(program, "stopped")[-1]
        assert "E7501" in last["error"] or "E7000" in last["error"]
        assert program.poll() is None
        program.terminate()
        assert program.wait(timeout=60) == 0
    assert not (tmp_path / "acked").exists()
