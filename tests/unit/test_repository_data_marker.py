# SPDX-License-Identifier: Apache-2.0
"""Tests that need real data run where it is, are listed where it is not, and fail a pipeline that lacks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """# SPDX-License-Identifier: Apache-2.0
import pytest

def test_plain():
    pass

@pytest.mark.data
def test_marked():
    pass

def test_with_the_fixture(test_data):
    assert test_data.is_dir()
"""


def run(folder: Path, repository: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on SAMPLE below our conftest.py, as a checkout of its own without data beside it."""
    tests = folder / "checkout" / "tests"
    tests.mkdir(parents=True)
    (tests / "conftest.py").write_bytes((repository / "tests/conftest.py").read_bytes())
    (tests / "test_sample.py").write_text(SAMPLE, encoding="utf-8")
    (folder / "checkout/pytest.ini").write_text("[pytest]\nmarkers =\n    data: needs real data\n", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "EVIDENCERUN_TEST_DATA")}
    kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a second less per start
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    return subprocess.run(command, cwd=folder / "checkout", env=kept | environment, capture_output=True, text=True)


def test_with_data_everything_runs(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "data").mkdir()
    done = run(tmp_path, repository, EVIDENCERUN_TEST_DATA=str(tmp_path / "data"), CI="true")
    assert done.returncode == 0
    assert "3 passed" in done.stdout
    assert "not run" not in done.stdout


def test_data_beside_the_checkout_is_found(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "shared/data").mkdir(parents=True)
    assert "3 passed" in run(tmp_path, repository).stdout


@pytest.mark.parametrize("environment", [{}, {"EVIDENCERUN_TEST_DATA": "nowhere"}])
def test_without_data_the_missing_tests_are_listed(
    tmp_path: Path, repository: Path, environment: dict[str, str]
) -> None:
    done = run(tmp_path, repository, **environment)
    assert done.returncode == 0
    assert "1 passed, 2 deselected" in done.stdout
    assert "not run: 2 tests need real data" in done.stdout
    assert "test_sample.py::test_marked" in done.stdout
    assert "test_sample.py::test_with_the_fixture" in done.stdout


def test_a_pipeline_without_data_fails(tmp_path: Path, repository: Path) -> None:
    done = run(tmp_path, repository, CI="true")
    assert done.returncode == 4
    assert "2 tests need real data" in done.stderr
    assert "EVIDENCERUN_TEST_DATA" in done.stderr
