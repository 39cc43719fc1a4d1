# SPDX-License-Identifier: Apache-2.0
"""A work queue that never holds a key twice, never gives one key to two workers, and delays what fails."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from dataclasses import dataclass
from typing import Final

_FIRST_DELAY: Final = 0.5
_LAST_DELAY: Final = 30.0


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What is to be looked at: a run by its name."""

    namespace: str
    name: str


class WorkQueue:
    """Keys that are due, in order of arrival, and keys that will be.

    A key that is added while a worker has it is given out again once that worker is done. A key that is delayed twice
    keeps the earlier time; `add` makes it due at once.
    """

    def __init__(self) -> None:
        self._due: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._times: dict[Key, float] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._failures: dict[Key, int] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def add(self, key: Key) -> None:
        """Make a key due now."""
        self._times.pop(key, None)
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._due.append(key)
        self._wake.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Make a key due after some seconds."""
        if seconds <= 0:
            self.add(key)
            return
        moment = asyncio.get_running_loop().time() + seconds
        if key in self._queued or self._times.get(key, moment + 1) <= moment:
            return
        self._times[key] = moment
        heapq.heappush(self._later, (moment, next(self._order), key))
        self._wake.set()

    def add_unknown(self, key: Key) -> None:
        """Make a key due now, unless its time is known already."""
        if key not in self._busy and key not in self._times:
            self.add(key)

    def add_failed(self, key: Key) -> float:
        """Make a key due after a delay that doubles with each failure in a row; return the delay."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(_LAST_DELAY, _FIRST_DELAY * 2.0 ** min(count, 10))
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: Key) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    async def take(self) -> Key:
        """Return the next due key and lend it to the caller until `done`."""
        while True:
            self._promote()
            if self._due:
                key = self._due.popleft()
                self._queued.discard(key)
                self._busy.add(key)
                return key
            self._wake.clear()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """Give a key back."""
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def __len__(self) -> int:
        return len(self._queued) + len(self._busy) + len(self._times)

    def _pause(self) -> float | None:
        return max(0.0, self._later[0][0] - asyncio.get_running_loop().time()) if self._later else None

    def _promote(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            moment, _, key = heapq.heappop(self._later)
            if self._times.get(key) == moment:
                self.add(key)
