# SPDX-License-Identifier: Apache-2.0
"""The probe's life after its report is made: upload, acknowledge, look whether the store still has it, stay.

Rules of `PUT /v1/runs/{uid}/nodes/self`: the store's 201 means that the report is on its disk; only
then the file that makes the pod Ready appears. A 404 to the HEAD means that the store lost it: upload again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evidencerun.errors import StoreError
from evidencerun.storeclient import Clock, StepLog, StoreClient, StoreRefusedError, keep_trying

_PODS_PER_SECOND: Final = 50.0
_LOOK_SECONDS: Final = (60.0, 120.0)
AFTERTIME_SECONDS: Final = 600.0
"""After the run's deadline the probe goes on so long, then it only sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What goes up: the report as JSON (for its digest) and as gzip, and where."""

    path: str
    plain: bytes
    packed: bytes


def splay_seconds(node_name: str, nodes: int) -> float:
    """Return this node's place in the first wave: hash(node) mod nodes/50 seconds."""
    window = max(1, round(nodes / _PODS_PER_SECOND * 1000))
    number = int.from_bytes(hashlib.sha256(node_name.encode()).digest()[:8])
    return number % window / 1000


class Uploader:
    """Brings one report to the store and keeps it there until `until` (monotonic seconds)."""

    def __init__(
        self, client: StoreClient, upload: Upload, *, acked: Path, clock: Clock, log: StepLog, until: float
    ) -> None:
        self._client = client
        self._upload = upload
        self._acked = acked
        self._clock = clock
        self._log = log
        self._until = until

    def stay(self) -> None:
        """Upload, then look after it until the time is over. Raises nothing of the store's."""
        while self._clock.monotonic() < self._until:
            try:
                if self._acked.exists():
                    self._look()
                else:
                    self._deliver()
            except StoreError as fault:
                self._log("store-unreachable", error=str(fault)[:1000])
            self._clock.sleep(self._clock.uniform(*_LOOK_SECONDS))

    def _deliver(self) -> None:
        keep_trying(
            self._put,
            clock=self._clock,
            until=self._until,
            on_fault=lambda fault, delay: self._log("upload-failed", error=str(fault)[:1000], retry_in=round(delay, 1)),
        )
        self._acked.touch()
        self._log("acknowledged", bytes=len(self._upload.packed))

    def _put(self) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        answer = self._client.send("PUT", self._upload.path, body=self._upload.packed, headers=headers)
        self._check_digest(answer.body)

    def _check_digest(self, body: bytes) -> None:
        """Believe an acknowledgement only if it names the bytes that were sent."""
        try:
            stored = json.loads(body)["sha256"]
        except (ValueError, KeyError, TypeError) as fault:
            raise StoreError("E7005", "the store's acknowledgement names no digest") from fault
        expected = {hashlib.sha256(data).hexdigest() for data in (self._upload.plain, self._upload.packed)}
        if str(stored).removeprefix("sha256:") not in expected:
            raise StoreError("E7005", "the store acknowledged other bytes", why=f"sha256 {str(stored)[:80]}")

    def _look(self) -> None:
        try:
            self._client.send("HEAD", self._upload.path, accept=frozenset({200, 204}))
        except StoreRefusedError as refusal:
            if refusal.status != 404:
                raise
            self._log("lost-by-store")
            self._acked.unlink(missing_ok=True)
            self._deliver()


def sleep_for_ever(clock: Clock, *, rounds: Callable[[], bool] = lambda: True) -> None:
    """Stay: a DaemonSet's pod that ends is started again. SIGTERM ends it."""
    while rounds():
        clock.sleep(3600.0)
