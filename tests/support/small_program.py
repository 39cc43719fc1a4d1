# SPDX-License-Identifier: Apache-2.0
"""Runs one of the small programs of node and check pods as a process, and follows its log of steps."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def running(module: str, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run `python -m module` with these variables and PATH alone; killed at the end of the block, or after a minute.

    So a program that never comes to the step that is waited for fails its test instead of holding it.
    """
    program = subprocess.Popen(
        [sys.executable, "-m", module],
        env={"PATH": os.environ["PATH"], **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watchdog = threading.Timer(60, program.kill)
    watchdog.start()
    try:
        yield program
    finally:
        watchdog.cancel()
        program.kill()
        program.wait()
        assert program.stdout
        program.stdout.close()


def log_until(program: subprocess.Popen[str], step: str) -> list[dict[str, Any]]:
    """Read the program's log up to a step; its end before that fails the test."""
    assert program.stdout
    lines: list[dict[str, Any]] = []
    for line in program.stdout:
        lines.append(json.loads(line))
        if lines[-1]["step"] == step:
            return lines
    raise AssertionError(f"the program ended before the step {step}: {lines}")
