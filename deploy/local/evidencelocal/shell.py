# SPDX-License-Identifier: Apache-2.0
"""Run programs, wait for conditions, print progress with elapsed time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from evidencelocal.settings import ClusterError

_STARTED = time.monotonic()

Command = Sequence[object]
"""Program and arguments; each word, a string or a path, is turned into text."""


def say(text: str) -> None:
    """Print one line of progress on standard error with the seconds since the program started."""
    print(f"{time.monotonic() - _STARTED:7.1f}s  {text}", file=sys.stderr, flush=True)


def run(command: Command, *, stdin: str | None = None, timeout: float = 120) -> str:
    """Run a program to its end and return its standard output; ClusterError with its own words otherwise."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not on this machine; run `cluster doctor`") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(words)} did not end within {timeout:.0f} s") from error
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise ClusterError(f"{' '.join(words)} ended with exit code {done.returncode}: {said}")
    return done.stdout


def succeeds(command: Command) -> bool:
    """Whether a program ends with exit code 0; its output is dropped."""
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log file, indented, or a note that there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"    ({path} does not exist)"
    return "\n".join("    " + line[:400] for line in text.splitlines()[-lines:]) or f"    ({path} is empty)"


def wait_for(what: str, ready: Callable[[], bool], *, timeout: float, logs: Sequence[Path] = ()) -> None:
    """Poll `ready` until it holds; ClusterError with the tail of `logs` when it does not within `timeout` s."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            shown = "\n".join(f"  last lines of {path}:\n{tail(path)}" for path in logs)
            raise ClusterError(f"{what}: not within {timeout:.0f} s\n{shown}")
        time.sleep(0.1)


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Write a text file with its folder; the file never has wider permissions than `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=mode)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def fail(text: str, exit_code: int = 1) -> int:
    """Print an error and return the exit code for it."""
    print(f"error: {text}", file=sys.stderr, flush=True)
    return exit_code
