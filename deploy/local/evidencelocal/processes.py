# SPDX-License-Identifier: Apache-2.0
"""Background processes that outlive this program: started, found again, and ended by process id.

A process is known by its id and its start time, so that an id which the kernel has given away again is never
killed. Every process also carries the cluster's marker in its environment; `ours` finds those whose record was lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evidencelocal.settings import MARKER, ClusterError, Settings
from evidencelocal.shell import Command, tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of this machine: its id and its start time in clock ticks since boot."""

    pid: int
    started: int


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None when there is no such process or it is only waiting to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identify(pid: int) -> Process | None:
    """The running process with this id, or None."""
    started = _start_time(pid)
    return None if started is None else Process(pid=pid, started=started)


def _record(settings: Settings, name: str) -> Path:
    return settings.state / "run" / name


def find(settings: Settings, name: str) -> Process | None:
    """The running process that was started under `name`, or None."""
    try:
        pid, started = map(int, _record(settings, name).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return Process(pid=pid, started=started) if _start_time(pid) == started else None


def log_of(settings: Settings, name: str) -> Path:
    """The log file of the process `name`."""
    return settings.logs / f"{name}.log"


def start(settings: Settings, name: str, command: Command) -> bool:
    """Start `command` in the background unless it runs already; True when it was started."""
    if find(settings, name):
        return False
    log = log_of(settings, name)
    record = _record(settings, name)
    for folder in (log.parent, record.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={**os.environ, MARKER: str(settings.state)},
        )
    started = _start_time(child.pid)
    if started is None:
        raise ClusterError(f"{name} ended at once; last lines of {log}:\n{tail(log)}")
    record.write_text(f"{child.pid} {started}", encoding="ascii")
    return True


def stop(settings: Settings, name: str, *, how: signal.Signals = signal.SIGKILL) -> bool:
    """Signal the process `name` and wait for its end; True when it was running."""
    process = find(settings, name)
    if process:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, how)
        await_end([process])
    _record(settings, name).unlink(missing_ok=True)
    return process is not None


def await_end(processes: Iterable[Process], timeout: float = 10) -> None:
    """Wait until every one of `processes` is gone; kill what is left after `timeout` seconds."""
    left = list(processes)
    deadline = time.monotonic() + timeout
    while left:
        for process in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        left = [process for process in left if _start_time(process.pid) == process.started]
        if left and time.monotonic() > deadline:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            deadline += timeout
        time.sleep(0.02)


def _markers() -> Iterator[tuple[Process, Path]]:
    """Every other process of this machine that carries a cluster's marker, with the state directory that it names."""
    begin = f"{MARKER}=".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes().split(b"\0")
            process = identify(int(entry.name))
            if process:
                yield from ((process, Path(os.fsdecode(v[len(begin) :]))) for v in variables if v.startswith(begin))


def marked_states() -> set[Path]:
    """The state directories of all clusters that have a process on this machine."""
    return {state for _, state in _markers()}


def ours(settings: Settings) -> list[Process]:
    """Every process of this machine that carries this cluster's marker, whether or not its record is left."""
    return [process for process, state in _markers() if state == settings.state]


def kill_all(settings: Settings) -> int:
    """Kill every process of this cluster and wait until they are gone; returns how many there were."""
    total = 0
    while found := ours(settings):
        total += len(found)
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await_end(found)
    return total
