# SPDX-License-Identifier: Apache-2.0
"""Fetches the parts of a sealed bundle from the store, each checked against the digest that is expected of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.errors import EvidenceError, StoreError, WorldError
from evidencerun.storeclient import Clock, StepLog, StoreClient, StoreRefusedError, keep_trying

_PATIENCE_SECONDS: Final = 180.0
"""The store may be restarting; the Job's own deadline is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A fetched file with its `sha256:` digest and size."""

    path: Path
    digest: str
    size: int


class StoreParts:
    """Parts of one bundle, fetched once into a scratch folder."""

    def __init__(self, client: StoreClient, archive_digest: str, scratch: Path, *, clock: Clock, log: StepLog) -> None:
        self._client = client
        self._archive_digest = archive_digest
        self._scratch = scratch
        self._clock = clock
        self._log = log
        self._have: dict[str, Part] = {}

    def archive(self) -> Part:
        """Return bundle.tar.gz."""
        return self._checked("bundle.tar.gz", f"/v1/bundles/{self._archive_digest}", self._archive_digest)

    def logs(self, key: str, digest: str) -> Part:
        """Return evidence-logs.tar.gz."""
        return self._checked(layout.LOGS_ARCHIVE, f"/v1/logs/{key}", digest)

    def oci(self, name: str, digest: str) -> Part:
        """Return `manifest`, `config` or `layer`."""
        return self._checked(f"oci-{name}", f"/v1/bundles/{self._archive_digest}/oci/{name}", digest)

    def attestation(self) -> Part | None:
        """Return the Sigstore bundle, None if the bundle is unsigned. Nothing vouches for its bytes but themselves."""
        try:
            return self._fetch("oci-attestation", f"/v1/bundles/{self._archive_digest}/oci/attestation")
        except StoreRefusedError as refusal:
            if refusal.status != 404:
                raise
            return None

    def _checked(self, name: str, url: str, digest: str) -> Part:
        part = self._fetch(name, url)
        if part.digest != digest:
            raise EvidenceError(
                "E7310", f"the store gave another {name}", where=url, why=f"found {part.digest}, expected {digest}"
            )
        return part

    def _fetch(self, name: str, url: str) -> Part:
        if name in self._have:
            return self._have[name]
        part = keep_trying(
            self._download(name, url),
            clock=self._clock,
            until=self._clock.monotonic() + _PATIENCE_SECONDS,
            on_fault=lambda fault, delay: self._log(
                "store-failed", part=name, error=str(fault)[:1000], retry_in=round(delay, 1)
            ),
            give_up=_is_final,
        )
        self._log("fetched", part=name, bytes=part.size, digest=part.digest)
        self._have[name] = part
        return part

    def _download(self, name: str, url: str) -> Callable[[], Part]:
        target = self._scratch / name

        def once() -> Part:
            try:
                with target.open("wb") as file:
                    got = self._client.download(url, file, max_bytes=limits.BUNDLE_ARCHIVE_MAX)
            except OSError as fault:
                raise WorldError("E7311", "there is no room to work", where=str(target), why=str(fault)) from fault
            return Part(path=target, digest=got.digest, size=got.size)

        return once


def _is_final(fault: StoreError) -> bool:
    """A bundle that the store does not have will not appear: it was asked for by its digest after it was sealed."""
    return not fault.retryable or (isinstance(fault, StoreRefusedError) and fault.status in (401, 403, 404))
