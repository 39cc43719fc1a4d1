# SPDX-License-Identifier: Apache-2.0
"""The kernel's limits that several clusters exhaust: counted as the kernel counts, and told with what mends them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from evidencelocal import lifecycle, machine_limits, main, preflight, settings
from evidencelocal.machine_limits import Limit, Need


@pytest.fixture
def chosen(tmp_path: Path) -> settings.Settings:
    return settings.Settings(state=tmp_path / "cluster", instance=9)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this process counts: what others hold changes at any time."""
    monkeypatch.setattr(machine_limits, "_others", lambda _: [Path("/proc/self")])


@pytest.fixture
def held(alone: None, tmp_path: Path, chosen: settings.Settings) -> Iterator[tuple[int, int]]:
    """Two instances of inotify in this process, one of them with two watches; yields what it had before."""
    before = machine_limits.in_use(chosen)
    libc = ctypes.CDLL(None, use_errno=True)
    handles = [libc.inotify_init(), libc.inotify_init()]
    assert min(handles) >= 0, os.strerror(ctypes.get_errno())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert libc.inotify_add_watch(handles[0], os.fsencode(tmp_path / name), 0x100) > 0
    yield before
    for handle in handles:
        os.close(handle)


def test_instances_and_watches_are_counted(chosen: settings.Settings, held: tuple[int, int]) -> None:
    assert machine_limits.in_use(chosen) == (held[0] + 2, held[1] + 2)


def test_processes_of_the_cluster_itself_are_no_others(
    chosen: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Path(f"/proc/{os.getpid()}") in set(machine_limits._others(chosen))
    mine = machine_limits.processes.identify(os.getpid())
    monkeypatch.setattr(machine_limits.processes, "ours", lambda _: [mine])
    assert Path(f"/proc/{os.getpid()}") not in set(machine_limits._others(chosen))


def test_what_is_set_is_read_and_what_is_needed_grows_with_the_nodes(chosen: settings.Settings) -> None:
    three, four = machine_limits.look(chosen, 3), machine_limits.look(chosen, 4)
    assert [limit.name for limit in three] == ["fs.inotify.max_user_instances", "fs.inotify.max_user_watches"]
    for limit, more in zip(three, four, strict=True):
        assert limit.found == int(Path("/proc/sys", *limit.name.split(".")).read_text(encoding="ascii"))
        assert more.needed > limit.needed > 0


@pytest.mark.parametrize(("used", "enough"), [(28, True), (29, False)])
def test_enough_is_what_is_left_by_others(used: int, enough: bool) -> None:
    limit = Limit(name="fs.inotify.max_user_instances", found=128, used=used, needed=100, nodes=3)
    assert limit.enough is enough


def needs(number: int) -> tuple[Need, ...]:
    """A cluster that takes so many of everything, however many nodes it has."""
    return tuple(Need(name=need.name, base=number, node=0) for need in machine_limits.NEEDS)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has everything, but for a limit."""
    monkeypatch.setattr(machine_limits, "NEEDS", needs(10**9))
    monkeypatch.setattr(preflight, "require", lambda **_: None)


WORDS = ("fs.inotify.max_user_instances", "expected at least", "too many open files", "fix: sysctl -w fs.inotify.")


def test_the_doctor_names_a_limit_that_is_short(
    short: None, chosen: settings.Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVIDENCERUN_STATE", str(chosen.state))
    assert main.main(["doctor"]) == 0
    shown = capsys.readouterr()
    assert all(word in shown.err for word in WORDS), shown.err
    assert "but for the limits" in shown.out


def test_bringing_up_warns_before_anything_is_started(
    short: None, chosen: settings.Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):  # noqa: N818 (ends the attempt where the programs would be built)
        pass

    def stop(_: object) -> None:
        raise Stop

    monkeypatch.setattr(lifecycle.tools, "bin_dir", stop)
    with pytest.raises(Stop):
        lifecycle.up(chosen, 3, may_install=False)
    shown = capsys.readouterr().err
    assert all(word in shown for word in WORDS), shown


def test_a_machine_with_room_is_not_warned(
    chosen: settings.Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_limits, "NEEDS", needs(1))
    monkeypatch.setattr(machine_limits, "in_use", lambda _: (0, 0))
    monkeypatch.setattr(preflight, "require", lambda **_: None)
    monkeypatch.setenv("EVIDENCERUN_STATE", str(chosen.state))
    assert main.main(["doctor"]) == 0
    shown = capsys.readouterr()
    assert "warning" not in shown.err
    assert shown.out.endswith("everything that the cluster needs\n")
