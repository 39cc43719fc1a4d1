# SPDX-License-Identifier: Apache-2.0
"""Trying again with full jitter, so that five thousand pods do not come back at the same moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from evidencerun.errors import StoreError
from evidencerun.storeclient.exchange import StoreRefusedError

T = TypeVar("T")
BASE_SECONDS: Final = 1.0
CAP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time and chance of a program, so that tests can stand in for them."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.SystemRandom().uniform


class Backoff:
    """Delays between attempts: uniform in [0, min(cap, base x 2^n)], never less than the server asked for."""

    def __init__(self, clock: Clock, *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> None:
        self._clock = clock
        self._base = base
        self._cap = cap
        self._attempt = 0

    def next_delay(self, fault: StoreError) -> float:
        """Return the seconds to wait after `fault`."""
        ceiling = min(self._cap, self._base * 2.0 ** min(self._attempt, 16))
        self._attempt += 1
        asked = fault.retry_after if isinstance(fault, StoreRefusedError) else 0.0
        return asked + self._clock.uniform(0.0, ceiling)


def keep_trying(
    call: Callable[[], T],
    *,
    clock: Clock,
    until: float,
    on_fault: Callable[[StoreError, float], None],
    give_up: Callable[[StoreError], bool] = lambda _: False,
) -> T:
    """Return what `call` returns, trying again after each `StoreError` until the monotonic time `until`.

    `on_fault` hears of each fault and of the delay that follows. Raises the last fault when `give_up` says so, or
    when the next attempt would come after `until`.
    """
    backoff = Backoff(clock)
    while True:
        try:
            return call()
        except StoreError as fault:
            delay = backoff.next_delay(fault)
            if give_up(fault) or clock.monotonic() + delay > until:
                raise
            on_fault(fault, delay)
        clock.sleep(delay)
