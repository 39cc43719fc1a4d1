# SPDX-License-Identifier: Apache-2.0
"""The sidecar: `python3 -m evidencerun.sidecar.main`.

Inputs first, then the file that lets the check start, then a look into /results every two seconds; one look at the
check's timeout, before any deadline of the kubelet, and a last one at SIGTERM, which comes when the check has ended.
SIGTERM stays blocked and is picked up between steps, so that no upload is torn.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from evidencerun.errors import Error, StoreError
from evidencerun.sidecar.carrier import Carrier, Moment
from evidencerun.sidecar.inputs import Input, fetch_all, fetch_input
from evidencerun.sidecar.settings import SidecarSettings, sidecar_settings
from evidencerun.storeclient import Backoff, Clock, Endpoint, StepLog, StoreClient, keep_trying

LOOK_SECONDS: Final = 2.0
LAST_SECONDS: Final = 25.0
"""For the last upload: the pod's grace period is 30 s."""
_STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_SOCKET_SECONDS: Final = 8.0


class Stopped(Exception):  # noqa: N818 - not a fault: the pod is ending before the check could start
    """SIGTERM came while the inputs were fetched."""


def main() -> int:
    """Run until SIGTERM; return 0 if all results that may leave the pod are at the store."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    log = StepLog("sidecar")
    try:
        settings = sidecar_settings(os.environ)
        client = _client(settings)
        inputs = bring_inputs(settings, client, log, wait=stop_within)
        settings.ready.touch()
        log("ready")
        carrier = Carrier(settings.results, putter(settings, client), inputs, log)
        done = watch(carrier, settings.timeout_seconds, clock=Clock(), wait=stop_within)
    except Stopped:
        log("stopped-before-ready")
        return 1
    except Error as fault:
        log("failed", error=fault.diagnostics())
        return 1
    log("ended", complete=done)
    return 0 if done else 1


def bring_inputs(
    settings: SidecarSettings, client: StoreClient, log: StepLog, *, wait: Callable[[float], bool]
) -> tuple[Input, ...]:
    """Fetch all inputs, trying again until the kubelet gives the pod up. Raises `Stopped` at SIGTERM."""

    def sleep(seconds: float) -> None:
        if wait(seconds):
            raise Stopped

    clock = Clock(sleep=sleep)

    def fetch(name: str, target: Path) -> Input:
        got = keep_trying(
            lambda: fetch_input(client, settings.run_uid, name, target),
            clock=clock,
            until=float("inf"),
            on_fault=lambda fault, delay: log(
                "input-failed", file=name, error=str(fault)[:1000], retry_in=round(delay, 1)
            ),
        )
        log("input", file=name, bytes=got.size, digest=got.digest)
        return got

    return fetch_all(fetch, settings.data)


def putter(settings: SidecarSettings, client: StoreClient) -> Callable[[str, bytes], None]:
    """Return the function that brings one result to the store."""
    folder = f"/v1/runs/{settings.run_uid}/checks/{quote(settings.check, safe='')}/{settings.attempt}"

    def put(name: str, data: bytes) -> None:
        client.send("PUT", f"{folder}/{name}", body=data, headers={"Content-Type": "application/octet-stream"})

    return put


def watch(carrier: Carrier, timeout_seconds: float, *, clock: Clock, wait: Callable[[float], bool]) -> bool:
    """Look until told to stop; return whether the last look left nothing behind.

    After a fault of the store the looks come further apart, with jitter; a stop is heard at once all the same.
    """
    timeout_at = clock.monotonic() + timeout_seconds
    told_timeout = False
    backoff = Backoff(clock)
    pause = LOOK_SECONDS
    while not wait(min(pause, max(0.05, timeout_at - clock.monotonic())) if not told_timeout else pause):
        moment = Moment.CHANGE
        if not told_timeout and clock.monotonic() >= timeout_at:
            moment, told_timeout = Moment.TIMEOUT, True
        if carrier.carry(moment, keep_going=lambda: not wait_pending()):
            backoff, pause = Backoff(clock), LOOK_SECONDS
        else:
            pause = LOOK_SECONDS + backoff.next_delay(StoreError("E7001", "a result is not at the store yet"))
    return _last_look(carrier, clock)


def _last_look(carrier: Carrier, clock: Clock) -> bool:
    until = clock.monotonic() + LAST_SECONDS
    while True:
        if carrier.carry(Moment.END, keep_going=lambda: clock.monotonic() < until):
            return True
        if clock.monotonic() + 1.0 > until:
            return False
        clock.sleep(1.0)


def stop_within(seconds: float) -> bool:
    """Wait so long; return True as soon as SIGTERM or SIGINT has come."""
    return signal.sigtimedwait(_STOP, max(0.0, seconds)) is not None


def wait_pending() -> bool:
    """Tell whether a stop has come that nobody has picked up yet."""
    return bool(signal.sigpending() & _STOP)


def _client(settings: SidecarSettings) -> StoreClient:
    endpoint = Endpoint(
        url=settings.store_url,
        ca_pem=settings.store_ca,
        token_file=settings.token_file,
        socket_seconds=_SOCKET_SECONDS,
    )
    return StoreClient(endpoint)


if __name__ == "__main__":
    sys.exit(main())
