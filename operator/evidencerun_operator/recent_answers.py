# SPDX-License-Identifier: Apache-2.0
"""Answers of the API that may be a moment old, so that runs side by side do not ask the same thing each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")
_KEPT_MAX: Final = 1000
"""Answers; there are a few per run."""


@dataclass(slots=True)
class RecentAnswers:
    """Answers that may be a moment old. Losing them costs a request."""

    entries: dict[object, tuple[float, Any]] = field(default_factory=dict)

    async def get(self, key: object, seconds: float, read: Callable[[], Awaitable[T]]) -> T:
        """Return the answer that is kept under a key if it is younger than some seconds, else a fresh one."""
        now = time.monotonic()
        known = self.entries.get(key)
        if known is not None and now - known[0] < seconds:
            kept: T = known[1]
            return kept
        value = await read()
        if len(self.entries) > _KEPT_MAX:
            self.entries.clear()
        self.entries[key] = (now, value)
        return value
