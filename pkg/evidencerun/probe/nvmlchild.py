# SPDX-License-Identifier: Apache-2.0
"""Runs the NVML reader in a child process under a deadline and keeps every line that arrived."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any, Final

from evidencerun import limits

COMMAND: Final = (sys.executable, "-m", "evidencerun.probe.nvml")
_LOOK_SECONDS: Final = 0.25
_LINES_MAX: Final = limits.NVML_GPUS_MAX + 8


class _Stop(StrEnum):
    """Why reading stopped; the value is the child's ending in words."""

    CLOSED = ""
    DEADLINE = "killed at its deadline"
    FLOOD = "killed for printing too much"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOutput:
    """What the reader printed, and how it ended.

    `timed_out`: the deadline came first. `ending`: empty after a clean end, else words such as `signal 11`.
    """

    lines: tuple[Mapping[str, Any], ...]
    timed_out: bool
    ending: str


def run_child(
    seconds: float,
    *,
    command: Sequence[str] = COMMAND,
    environ: Mapping[str, str] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> ChildOutput:
    """Run `command` for at most `seconds`; return its JSON lines.

    The child is killed at the deadline and not waited for: a process that hangs in the kernel ignores the signal.
    Raises `OSError` if it cannot be started.
    """
    child = subprocess.Popen(  # noqa: S603
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=None if environ is None else dict(environ),
    )
    assert child.stdout is not None
    try:
        lines, stop = _read_lines(child.stdout, monotonic() + seconds, monotonic)
        ending = _ending(child) if stop is _Stop.CLOSED else stop.value
    finally:
        child.stdout.close()
        _leave_behind(child)
    return ChildOutput(lines=tuple(lines), timed_out=stop is _Stop.DEADLINE, ending=ending)


def _read_lines(
    pipe: IO[bytes], deadline: float, monotonic: Callable[[], float]
) -> tuple[list[Mapping[str, Any]], _Stop]:
    """Return the lines up to the end of the pipe, or to whatever stopped the reading before that."""
    lines: list[Mapping[str, Any]] = []
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(lines) < _LINES_MAX and len(pending) <= limits.NVML_LINE_MAX:
            left = deadline - monotonic()
            if left <= 0:
                return lines, _Stop.DEADLINE
            if not selector.select(min(left, _LOOK_SECONDS)):
                continue
            chunk = os.read(pipe.fileno(), limits.NVML_LINE_MAX)
            if not chunk:
                return lines, _Stop.CLOSED
            *whole, pending = (pending + chunk).split(b"\n")
            lines.extend(line for line in map(_parse, whole) if line is not None)
    return lines, _Stop.FLOOD


def _parse(line: bytes) -> Mapping[str, Any] | None:
    """Return the object on a line; a vendor's library may print other things to stdout."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _ending(child: subprocess.Popen[bytes]) -> str:
    """Return how a child ended that has closed its output."""
    try:
        code = child.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return "killed, since it went on after its last line"
    if code < 0:
        return f"signal {-code}"
    return f"exit code {code}" if code else ""


def _leave_behind(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that still runs, with whatever it has started."""
    if child.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        # In the kernel's hands; init reaps it when the driver lets go.
        child.returncode = -signal.SIGKILL
