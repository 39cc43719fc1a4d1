# SPDX-License-Identifier: Apache-2.0
"""What all tests share: where the real data is, and what happens where it is not.

Tests marked `data` need real recipes, snapshots and captures, which are never part of this repository. They are looked
for at EVIDENCERUN_TEST_DATA, else at ../shared/data beside the checkout. Without them such tests are deselected and
listed as not run; with CI=true that is an error instead, so that a green pipeline has run them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no defect of the code: properties are searched without a time limit per example.
settings.register_profile("evidencerun", deadline=None)
settings.load_profile("evidencerun")

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_RUN = pytest.StashKey[list[str]]()


def _data_folder() -> Path:
    chosen = os.environ.get("EVIDENCERUN_TEST_DATA")
    return Path(chosen) if chosen else REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of the real data; a test that takes this fixture counts as marked `data`."""
    folder = _data_folder()
    if not folder.is_dir():
        pytest.fail(f"no real data at {folder}: set EVIDENCERUN_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


def _needs_data(item: pytest.Item) -> bool:
    return item.get_closest_marker("data") is not None or "test_data" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what needs real data where there is none, and remember what it was."""
    wanting = [item for item in items if _needs_data(item)]
    folder = _data_folder()
    if not wanting or folder.is_dir():
        return
    if os.environ.get("CI") == "true":
        raise pytest.UsageError(
            f"{len(wanting)} tests need real data, and {folder} is no folder; fix: set EVIDENCERUN_TEST_DATA"
        )
    config.stash[NOT_RUN] = [item.nodeid for item in wanting]
    config.hook.pytest_deselected(items=wanting)
    items[:] = [item for item in items if item not in set(wanting)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was not run, test by test."""
    missing = config.stash.get(NOT_RUN, [])
    if missing:
        terminalreporter.section(f"not run: {len(missing)} tests need real data (set EVIDENCERUN_TEST_DATA)")
        for nodeid in missing:
            terminalreporter.line(nodeid)
