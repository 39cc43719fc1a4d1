# SPDX-License-Identifier: Apache-2.0
"""The Go programs that our readers and printers are compared with; built once per session. And a signer's key."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from composed_run import signing_key

__all__ = ["signing_key"]

GO_SOURCES = Path(__file__).parent.parent / "go" / "yamlcanon"


@dataclass(frozen=True)
class Answer:
    """What yaml.v3 made of a document: `status` is fixpoint, moves, error or value."""

    status: str
    body: bytes


class YamlOracle:
    """One running oracle process; documents go in and answers come out in the same order."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, documents: list[bytes], mode: str = "canonical") -> list[Answer]:
        """Return one answer per document. Writing happens beside reading: pipes are short."""
        source = self._process.stdin
        answers = self._process.stdout
        assert source is not None
        assert answers is not None
        writer = threading.Thread(target=self._write, args=(documents, mode))
        writer.start()
        found = []
        for _ in documents:
            status, length = answers.readline().split()
            found.append(Answer(status.decode(), answers.read(int(length))))
        writer.join()
        return found

    def _write(self, documents: list[bytes], mode: str) -> None:
        assert self._process.stdin is not None
        for document in documents:
            self._process.stdin.write(f"{mode} {len(document)}\n".encode() + document)
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=10)


_TALLIES: dict[str, Counter[str]] = {}


@pytest.fixture(scope="session")
def tallies() -> dict[str, Counter[str]]:
    """What became of the documents of each row; printed at the end of the run."""
    return _TALLIES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many documents were compared and which share was refused, row by row."""
    if not _TALLIES:
        return
    terminalreporter.section("canonical YAML against Go yaml.v3")
    terminalreporter.line(
        f"{'row':42} {'same':>6} {'of them no fixpoint':>20} {'both refuse':>12} {'strict':>7} {'share':>7}"
    )
    for row, tally in _TALLIES.items():
        total = tally["same"] + tally["refused by both"] + tally["strict"]
        line = f"{row:42} {tally['same']:6} {tally['no fixpoint']:20} {tally['refused by both']:12} {tally['strict']:7}"
        terminalreporter.line(f"{line} {tally['strict'] / total:7.2%}")
    terminalreporter.line(f"{'all':42} {sum(tally['same'] for tally in _TALLIES.values()):6}")


@pytest.fixture(scope="session")
def yaml_oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[YamlOracle]:
    """Build and run the yaml.v3 oracle. A missing Go toolchain is an error, not a skip: the test was asked for."""
    go = shutil.which("go")
    assert go, "a Go toolchain is needed for the differential tests"
    program = tmp_path_factory.mktemp("oracle") / "yamlcanon"
    subprocess.run([go, "build", "-o", program, "."], cwd=GO_SOURCES, check=True)
    oracle = YamlOracle(program)
    yield oracle
    oracle.close()
