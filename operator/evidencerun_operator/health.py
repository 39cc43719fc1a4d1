# SPDX-License-Identifier: Apache-2.0
"""Whether the operator's loops turn: what the kubelet is told."""

from __future__ import annotations

import time
from typing import Final

SILENCE: Final = 180.0
"""Seconds without a completed round of the resync; a round that fails counts, for the API server may be away."""


class Health:
    """The time of the last round of the resync loop."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        """Note that a round was completed."""
        self._last = time.monotonic()

    def fault(self) -> str:
        """Return what is wrong; empty if nothing is."""
        silent = time.monotonic() - self._last
        return f"no resync for {silent:.0f} s" if silent > SILENCE else ""
