# SPDX-License-Identifier: Apache-2.0
"""What a cluster changed on its machine is put back by the last one that goes, not by the first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evidencelocal import hostnet, processes, settings


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one kernel setting, 0 at first, and one directory that clusters make."""
    (tmp_path / "forward").write_text("0")
    monkeypatch.setattr(hostnet, "_SYSCTLS", ("forward",))
    monkeypatch.setattr(hostnet, "_sysctl_file", lambda name: tmp_path / name)
    monkeypatch.setattr(hostnet, "_FOLDERS", (str(tmp_path / "kubelet"),))
    monkeypatch.setattr(hostnet, "_SIDE_EFFECTS", ())
    return tmp_path


def up(machine: Path, name: str) -> settings.Settings:
    cluster = settings.Settings(state=machine / name, instance=9)
    cluster.state.mkdir()
    hostnet.remember(cluster)
    (machine / "forward").write_text("1")
    (machine / "kubelet").mkdir(exist_ok=True)
    return cluster


def down(cluster: settings.Settings, monkeypatch: pytest.MonkeyPatch, *others: settings.Settings) -> None:
    monkeypatch.setattr(processes, "marked_states", lambda: {other.state for other in others})
    hostnet._put_back(cluster)


def now(machine: Path) -> tuple[str, bool]:
    return (machine / "forward").read_text(), (machine / "kubelet").exists()


@pytest.mark.parametrize("first_leaves_first", [True, False])
def test_the_last_one_puts_back_what_the_first_one_found(
    machine: Path, monkeypatch: pytest.MonkeyPatch, first_leaves_first: bool
) -> None:
    first, second = up(machine, "a"), up(machine, "b")
    early, late = (first, second) if first_leaves_first else (second, first)
    down(early, monkeypatch, late)
    assert now(machine) == ("1", True), "the other one still runs"
    down(late, monkeypatch)
    assert now(machine) == ("0", False)


def test_what_was_there_before_stays(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "kubelet").mkdir()
    (machine / "forward").write_text("1")
    down(up(machine, "a"), monkeypatch)
    assert now(machine) == ("1", True)


def test_nothing_is_left_to_a_cluster_of_an_earlier_boot(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = up(machine, "a"), up(machine, "b")
    stale = second.state / "before.json"
    text = json.dumps({**json.loads(stale.read_text()), "boot": "another"})
    stale.write_text(text)
    down(first, monkeypatch, second)
    assert stale.read_text() == text
