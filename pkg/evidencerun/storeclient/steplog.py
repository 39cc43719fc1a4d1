# SPDX-License-Identifier: Apache-2.0
"""One JSON line on stdout per step of a small program. Tokens and bodies never go in."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TextIO


def utc_text() -> str:
    """Return the time as RFC 3339, UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class StepLog:
    """Writes lines like `{"at": "2026-01-01T00:00:00Z", "program": "probe", "step": "uploaded", …}`."""

    def __init__(self, program: str, *, now: Callable[[], str] = utc_text, out: TextIO | None = None) -> None:
        self._program = program
        self._now = now
        self._out = out

    def __call__(self, step: str, **facts: str | float | bool) -> None:
        """Write one line; it is flushed, because the container may be killed at any moment."""
        line = {"at": self._now(), "program": self._program, "step": step, **facts}
        out = self._out or sys.stdout
        out.write(json.dumps(line, ensure_ascii=True) + "\n")
        out.flush()
