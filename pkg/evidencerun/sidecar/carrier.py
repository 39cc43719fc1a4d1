# SPDX-License-Identifier: Apache-2.0
"""Carries changed results to the store and tells what stayed behind, in a listing of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

from evidencerun.errors import StoreError
from evidencerun.sidecar.inputs import Input
from evidencerun.sidecar.resultsfolder import LeftOut, ResultFile, Scan, read_result, scan
from evidencerun.storeclient import StepLog, StoreRefusedError

LISTING: Final = "_sidecar.json"
"""The leading underscore keeps it apart: no result of a check can have this name."""
LISTING_SCHEMA: Final = "https://evidencerun.dev/schemas/sidecar/v1"
_NEVER_TAKEN: Final = frozenset({400, 404, 409, 410, 413, 415, 422})
"""Answers that stay as they are: 404 and 409 say that run or attempt is over, and a pod must not outlive them."""


class Moment(StrEnum):
    """Why the carrier looks into the folder."""

    CHANGE = "change"
    TIMEOUT = "timeout"
    END = "end"


class _Carried(StrEnum):
    """What became of a file that could be read."""

    STORED = "stored"
    LATER = "later"


class Carrier:
    """Knows what the store has already. `put(name, data)` brings one file there or raises `StoreError`."""

    def __init__(
        self, folder: Path, put: Callable[[str, bytes], None], inputs: tuple[Input, ...], log: StepLog
    ) -> None:
        self._folder = folder
        self._put = put
        self._inputs = inputs
        self._log = log
        self._seen: dict[str, ResultFile] = {}
        self._uploaded: dict[str, tuple[str, int]] = {}
        self._refused: dict[str, LeftOut] = {}
        self._last_listing = b""

    def carry(self, moment: Moment, *, keep_going: Callable[[], bool]) -> bool:
        """Upload what has changed; return whether everything that may leave the pod is at the store now.

        Stops between files when `keep_going` says no. Faults of the store are logged; the next call tries again.
        """
        found = scan(self._folder)
        complete = True
        unread: list[LeftOut] = []
        for file in found.files:
            if self._seen.get(file.name) == file:
                continue
            if not keep_going():
                complete = False
                break
            outcome = self._carry_one(file)
            if isinstance(outcome, LeftOut):
                unread.append(outcome)
            elif outcome is _Carried.LATER:
                complete = False
        return self._list(moment, found, unread) and complete

    def _carry_one(self, file: ResultFile) -> _Carried | LeftOut:
        """Bring one file to the store; what stays behind for good is told with its reason."""
        data = read_result(self._folder, file.name)
        if isinstance(data, LeftOut):
            return data
        try:
            self._put(file.name, data)
        except StoreError as fault:
            self._log("upload-failed", file=file.name, error=str(fault)[:1000])
            if isinstance(fault, StoreRefusedError) and fault.status in _NEVER_TAKEN:
                refusal = LeftOut(name=file.name, reason=f"refused by the store: {fault.why}"[:300])
                self._refused[file.name] = refusal
                self._seen[file.name] = file
                return refusal
            return _Carried.LATER
        self._seen[file.name] = file
        self._refused.pop(file.name, None)
        self._uploaded[file.name] = (hashlib.sha256(data).hexdigest(), len(data))
        self._log("uploaded", file=file.name, bytes=len(data))
        return _Carried.STORED

    def _list(self, moment: Moment, found: Scan, unread: list[LeftOut]) -> bool:
        """Upload the listing at the end and whenever something stays behind that was not told yet."""
        left_out = {item.name: item for item in (*found.left_out, *unread, *self._refused.values())}
        if moment is Moment.CHANGE and not left_out:
            return True
        listing = self._listing(moment, left_out)
        if listing == self._last_listing:
            return True
        try:
            self._put(LISTING, listing)
        except StoreError as fault:
            self._log("listing-failed", error=str(fault)[:1000])
            # What the store will never take must not hold the pod: its check would seem to go on.
            return isinstance(fault, StoreRefusedError) and fault.status in _NEVER_TAKEN
        self._last_listing = listing
        return True

    def _listing(self, moment: Moment, left_out: dict[str, LeftOut]) -> bytes:
        document = {
            "schema": LISTING_SCHEMA,
            "moment": moment,
            "uploaded": [
                {"name": name, "sha256": digest, "size": size}
                for name, (digest, size) in sorted(self._uploaded.items())
            ],
            "leftOut": [{"name": name, "reason": left_out[name].reason} for name in sorted(left_out)],
            "inputs": {item.name: item.digest for item in self._inputs},
        }
        return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
