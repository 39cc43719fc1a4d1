# SPDX-License-Identifier: Apache-2.0
"""The sidecar as a program: inputs, a result, SIGTERM, against a store of a few lines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from local_server import QuietHandler, serving
from small_program import log_until, running

BASE = "/v1/runs/run"


@dataclass
class Store:
    """Gives inputs and keeps results by their path."""

    url: str = ""
    missing: set[str] = field(default_factory=set)
    results: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix(f"{BASE}/inputs/")
            missing = name in made.missing
            made.missing.discard(name)
            self.reply(404 if missing else 200, b"{}" if missing else f"# {name}\n".encode())

        def do_PUT(self) -> None:
            made.results[self.path] = self.body()
            self.reply(201, b"{}")

    with serving(Handler) as made.url:
        yield made


@contextmanager
def _sidecar(store: Store, folder: Path, **changes: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "token").write_text("the.token")
    (folder / "results").mkdir()
    environ = {
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
    with running("evidencerun.sidecar.main", environ | changes) as program:
        yield program


def test_inputs_come_before_ready_and_results_leave_at_the_end(store: Store, tmp_path: Path) -> None:
    with _sidecar(store, tmp_path) as program:
        log_until(program, "ready")
        assert (tmp_path / "ready").exists()
        assert (tmp_path / "data/recipe/recipe.yaml").read_text() == "# recipe.yaml\n"
        assert (tmp_path / "data/nodes/nodes.json").exists()
        (tmp_path / "results/ctrf.json").write_text("{}")
        program.terminate()
        assert log_until(program, "ended")[-1]["complete"] is True
        assert program.wait(timeout=60) == 0
    folder = f"{BASE}/checks/node-agreement/1"
    assert store.results[f"{folder}/ctrf.json"] == b"{}"
    listing = json.loads(store.results[f"{folder}/_sidecar.json"])
    assert listing["moment"] == "end"
    assert [item["name"] for item in listing["uploaded"]] == ["ctrf.json"]
    assert set(listing["inputs"]) == {"recipe.yaml", "snapshot.yaml", "validation.yaml", "nodes.json"}


def test_results_leave_while_the_check_runs(store: Store, tmp_path: Path) -> None:
    with _sidecar(store, tmp_path) as program:
        log_until(program, "ready")
        (tmp_path / "results/early.json").write_text("1")
        assert log_until(program, "uploaded")[-1]["file"] == "early.json"
    assert store.results[f"{BASE}/checks/node-agreement/1/early.json"] == b"1"


def test_an_input_that_is_not_there_yet_is_waited_for(store: Store, tmp_path: Path) -> None:
    store.missing.add("snapshot.yaml")
    with _sidecar(store, tmp_path) as program:
        steps = [(line["step"], line.get("file")) for line in log_until(program, "ready")]
    assert ("input-failed", "snapshot.yaml") in steps


def test_sigterm_before_ready_ends_it(store: Store, tmp_path: Path) -> None:
    with _sidecar(store, tmp_path, EVIDENCERUN_STORE_URL="http://127.0.0.1:1") as program:
        log_until(program, "input-failed")
        program.terminate()
        assert log_until(program, "stopped-before-ready")
        assert program.wait(timeout=60) == 1
    assert not (tmp_path / "ready").exists()


def test_wrong_settings_are_an_exit_with_its_reason(store: Store, tmp_path: Path) -> None:
    with _sidecar(store, tmp_path, EVIDENCERUN_CHECK="") as program:
        assert "EVIDENCERUN_CHECK" in log_until(program, "failed")[-1]["error"]
        assert program.wait(timeout=60) == 1
