# SPDX-License-Identifier: Apache-2.0
"""A running cluster belongs to the checkout that brought it up: others are told so, and it goes on."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from evidencelocal import lifecycle, main, ownership, processes, settings

Stand = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory that the commands of a test are about, for a number that no real cluster has."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    monkeypatch.setenv("EVIDENCERUN_STATE", str(folder))
    monkeypatch.setenv("EVIDENCERUN_INSTANCE", "9")
    monkeypatch.delenv(ownership.TAKE_OVER, raising=False)
    return folder


@pytest.fixture
def marker(monkeypatch: pytest.MonkeyPatch) -> str:
    """A marker that no other cluster of this machine has, not even one of a test beside this one."""
    unique = f"{settings.MARKER}_{secrets.token_hex(4)}"
    monkeypatch.setattr(processes, "MARKER", unique)
    return unique


@pytest.fixture
def stand(marker: str) -> Iterator[Stand]:
    """Let a process stand for a cluster: stand(state directory, checkout, instance)."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(folder: Path, checkout: Path, instance: int = 9, marked: str = marker) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        text = json.dumps({"checkout": str(checkout), "instance": instance})
        (folder / "owner.json").write_text(text, encoding="ascii")
        environment = {**os.environ, marked: str(folder)}
        words = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"]
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been done to the cluster, by a user who is root."""
    done: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(lifecycle, "down", lambda _: done.append("down"))
    monkeypatch.setattr(lifecycle, "kill_node", lambda _, number: done.append(f"kill-node {number}"))
    monkeypatch.setattr(main, "_up", lambda _, options: done.append(f"up {options.nodes}"))
    return done


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another checkout."""
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "words", [["up"], ["down"], ["kill-node", "2"], ["env"], ["status"], ["exec-node", "1", "--", "true"]]
)
def test_the_cluster_of_another_checkout_is_left_alone(
    state: Path, stand: Stand, changes: list[str], other: Path, words: list[str]
) -> None:
    process = stand(state, other)
    (state / "admin.kubeconfig").touch()
    with pytest.raises(ownership.ForeignClusterError) as refused:
        main.main(words)
    assert refused.value.exit_code == 3
    text = str(refused.value)
    assert f"found: {other}, with its state in {state}" in text
    assert f"expected: {ownership.checkout()}" in text
    assert "fix: export EVIDENCERUN_INSTANCE=" in text
    assert f"or: EVIDENCERUN_STATE={state} EVIDENCERUN_INSTANCE=9 {other}/deploy/local/cluster down" in text
    assert "or: --take-over, or EVIDENCERUN_TAKE_OVER=true" in text
    assert changes == []
    assert process.poll() is None


def test_the_program_says_it_in_words_and_ends_with_a_code_of_its_own(
    state: Path, stand: Stand, other: Path, repository: Path
) -> None:
    """The only one with the marker of real clusters, and a number that neither they nor other tests have."""
    stand(state, other, instance=7, marked=settings.MARKER)
    environment = {**os.environ, "EVIDENCERUN_INSTANCE": "7"}
    command = [repository / "deploy/local/cluster", "status"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 3
    assert done.stderr.startswith("error: the running cluster with instance number 7 belongs to another checkout")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["up", "down"])
def test_whoever_is_told_to_takes_it(
    state: Path,
    stand: Stand,
    changes: list[str],
    other: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    stand(state, other)
    assert main.main([command, "--take-over"]) == 0
    monkeypatch.setenv(ownership.TAKE_OVER, "true")
    assert main.main([command]) == 0
    assert len(changes) == 2


def test_what_is_not_running_or_ours_or_of_a_checkout_that_is_gone_is_free(
    state: Path, stand: Stand, changes: list[str], other: Path, tmp_path: Path
) -> None:
    stand(state, ownership.checkout())
    assert main.main(["down"]) == 0
    process = stand(state, tmp_path / "gone")
    assert main.main(["down"]) == 0
    process.kill()
    process.wait()
    stand(tmp_path / "elsewhere", other, instance=8)
    assert main.main(["up", "--nodes", "2"]) == 0
    assert changes == ["down", "down", "up 2"]


def test_the_same_addresses_with_another_state_directory_are_never_taken(
    state: Path, stand: Stand, changes: list[str], tmp_path: Path
) -> None:
    """Bridge, ports and namespaces are named by the number: ending one would end half of the other."""
    stand(tmp_path / "elsewhere", ownership.checkout())
    with pytest.raises(ownership.ForeignClusterError, match="elsewhere") as refused:
        main.main(["up", "--take-over"])
    assert "--take-over" not in str(refused.value)
    assert changes == []


def test_bringing_it_up_writes_down_whose_it_is(state: Path, stand: Stand) -> None:
    chosen = settings.from_environment()
    stand(state, Path("/nobody"))
    ownership.claim(chosen)
    owned = ownership.Owned(checkout=ownership.checkout(), state=state, instance=chosen.instance)
    assert list(ownership.running()) == [owned]
