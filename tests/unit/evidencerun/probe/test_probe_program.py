# SPDX-License-Identifier: Apache-2.0
"""The probe as a program: from its start to SIGTERM, against a store of a few lines."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from local_server import QuietHandler, serving
from small_program import log_until, running

from evidencerun.snapshot.report import NodeReport

if TYPE_CHECKING:
    from tests.unit.evidencerun.probe.conftest import Machine

PROBE = "evidencerun.probe.main"


@dataclass
class Store:
    """Keeps what was put; answers the first `failures` requests with 503."""

    failures: int = 0
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()

    class Handler(QuietHandler):
        def do_PUT(self) -> None:
            body = self.body()
            made.tokens.append(self.headers["Authorization"])
            if len(made.tokens) <= made.failures:
                self.reply(503)
                return
            made.bodies.append(body)
            digest = hashlib.sha256(gzip.decompress(body)).hexdigest()
            self.reply(201, json.dumps({"sha256": digest}).encode())

    with serving(Handler) as made.url:
        yield made


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
    with running(PROBE, environment(machine, store, tmp_path)) as program:
        log = log_until(program, "acknowledged")
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
    with running(PROBE, environment(machine, store, tmp_path)) as program:
        steps = [line["step"] for line in log_until(program, "acknowledged")]
    assert "upload-failed" in steps
    assert len(store.bodies) == 1


@pytest.mark.parametrize(
    "changes", [{"NODE_NAME": ""}, {"EVIDENCERUN_STORE_URL": "http://elsewhere"}, {"EVIDENCERUN_DEADLINE": "soon"}]
)
def test_wrong_settings_end_in_a_log_line_not_in_a_crash_loop(
    machine: Machine, store: Store, tmp_path: Path, changes: dict[str, str]
) -> None:
    with running(PROBE, environment(machine, store, tmp_path) | changes) as program:
        last = log_until(program, "stopped")[-1]
        assert "E7501" in last["error"] or "E7000" in last["error"]
        assert program.poll() is None
        program.terminate()
        assert program.wait(timeout=60) == 0
    assert not (tmp_path / "acked").exists()
