# SPDX-License-Identifier: Apache-2.0
"""A file on the volume is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evidencerun.errors import StoreError
from evidencerun.store import disk

STEPS = ("open", "write", "fsync", "replace", "rename", "mkdir", "link")


class Killed(BaseException):
    """The process ends here: nothing after it runs, not even clean-up that the kernel would not do."""


def _dying(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Let the process die before its `step`-th call that changes the disk; return a counter of the calls."""
    count = 0
    for name in STEPS:
        real = getattr(os, name)

        def call(*args: Any, _real: Any = real, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count >= step:
                raise Killed
            return _real(*args, **options)

        monkeypatch.setattr(os, name, call)
    # Clean-up code must not run in a process that is dead.
    monkeypatch.setattr(os, "unlink", lambda *a, **o: None)
    return lambda: count


def _steps_of(action: Callable[[], object]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        counter = _dying(patch, 10**9)
        action()
        return counter()


def test_put_is_whole_or_absent_at_every_step(tmp_path: Path) -> None:
    disk.put(tmp_path / "counted" / "file", b"old")
    total = _steps_of(lambda: disk.put(tmp_path / "counted" / "file", b"new"))
    assert total >= 5
    for step in range(1, total + 1):
        path = tmp_path / f"step-{step}" / "file"
        disk.put(path, b"old")
        with pytest.MonkeyPatch.context() as patch:
            _dying(patch, step)
            with pytest.raises(Killed):
                disk.put(path, b"new")
        assert path.read_bytes() in (b"old", b"new")
        disk.sweep(path.parent)
        assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_folder_appears_as_a_whole_at_every_step(tmp_path: Path) -> None:
    files = {"a": b"1", "b": b"2"}
    total = _steps_of(lambda: disk.put_folder(tmp_path / "folder", files))
    assert total >= 9
    for step in range(1, total + 1):
        path = tmp_path / f"step-{step}" / "folder"
        path.parent.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            _dying(patch, step)
            with pytest.raises(Killed):
                disk.put_folder(path, files)
        disk.sweep(path.parent)
        found = {entry.name: entry.read_bytes() for entry in path.iterdir()} if path.exists() else {}
        assert found in ({}, files)
        assert disk.put_folder(path, files) is (found == {})
        assert {entry.name: entry.read_bytes() for entry in path.iterdir()} == files


def test_the_first_folder_stays(tmp_path: Path) -> None:
    assert disk.put_folder(tmp_path / "folder", {"a": b"1"}) is True
    assert disk.put_folder(tmp_path / "folder", {"a": b"2"}) is False
    assert (tmp_path / "folder" / "a").read_bytes() == b"1"


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, disk.VolumeFullError), (errno.EIO, StoreError)])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_failed_write_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreError], call: str
) -> None:
    path = tmp_path / "file"
    disk.put(path, b"old")

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(kind) as caught:
            disk.put(path, b"new")
        with pytest.raises(kind):
            disk.put_folder(tmp_path / "folder", {"a": b"1"})
    assert type(caught.value) is kind
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_removed_is_never_half_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    disk.put_folder(folder, {"a": b"1", "b": b"2"})
    total = _steps_of(lambda: disk.remove_folder(folder))
    disk.put_folder(folder, {"a": b"1", "b": b"2"})
    for step in range(1, total + 1):
        with pytest.MonkeyPatch.context() as patch:
            _dying(patch, step)
            with pytest.raises(Killed):
                disk.remove_folder(folder)
        disk.sweep(tmp_path)
        assert not folder.exists() or len(list(folder.iterdir())) == 2
        disk.put_folder(folder, {"a": b"1", "b": b"2"})


def test_modes_are_private(tmp_path: Path) -> None:
    disk.put(tmp_path / "new" / "file", b"x")
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
