# SPDX-License-Identifier: Apache-2.0
"""Whether the volume takes what it is given: what the operator is told, so that people see it in the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_REMEMBERED_SECONDS: Final = 45.0
"""Longer than the longest pause between two attempts of a probe or a sidecar, so that it does not come and go."""


class VolumeState:
    """The last write that the volume had no room for; `ticks` returns seconds that only grow."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._since = 0.0
        self._trouble = ""

    def refused(self, trouble: str) -> None:
        """Note that there was no room."""
        self._since, self._trouble = self._ticks(), trouble

    def took(self) -> None:
        """Note that something was stored."""
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """What was refused lately; empty if nothing was since."""
        return self._trouble if self._ticks() - self._since < _REMEMBERED_SECONDS else ""
