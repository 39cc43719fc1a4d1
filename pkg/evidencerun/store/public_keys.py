# SPDX-License-Identifier: Apache-2.0
"""Public keys on the volume and in ConfigMap `evidence-public`: the store's CA, the signing key, and all before it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from evidencerun.attest.keys import PublicKey, load_public_key
from evidencerun.errors import Error
from evidencerun.kube.base import CONFIG_MAPS, ClusterPort
from evidencerun.store import disk, events_log

_RETRY_SECONDS: Final = 5
_REPEAT_SECONDS: Final = 600
"""Somebody may have changed the ConfigMap; a patch that changes nothing costs the API server nothing."""


class PublicKeys:
    """The sealer's public keys: `current` signs now, earlier ones stay for the bundles that they signed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> None:
        """Make the folder."""
        disk.make_folder(self._folder)
        disk.sweep(self._folder)

    def add(self, pem: bytes) -> bool:
        """Store a key and make it the current one; False if it was already. Blocks; raises `InputError` E2210."""
        key = load_public_key(pem, where="PUT /v1/keys")
        path = self._folder / _file_name(key)
        if not path.exists():
            disk.put(path, pem)
        current = self._folder / "current"
        if current.exists() and current.read_text() == path.name:
            return False
        disk.put(current, path.name.encode())
        return True

    def find(self, spki_digest: bytes) -> bytes | None:
        """Return the PEM of a published key by the SHA-256 of its SPKI, or None."""
        path = self._folder / f"signing-{spki_digest.hex()[:16]}.pub"
        if not path.exists():
            return None
        pem = path.read_bytes()
        return pem if load_public_key(pem).digest == spki_digest else None

    def published(self) -> dict[str, str]:
        """Return the ConfigMap's entries for all keys."""
        entries = {path.name: path.read_text() for path in sorted(self._folder.glob("signing-*.pub"))}
        current = self._folder / "current"
        if current.exists():
            entries["signing.pub"] = entries[current.read_text()]
        return entries


class Publisher:
    """Keeps `evidence-public` right. `changed` asks for it at once."""

    def __init__(self, cluster: ClusterPort, *, namespace: str, name: str, keys: PublicKeys, ca_pem: bytes) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._keys = keys
        self._ca = ca_pem.decode()
        self._wake = asyncio.Event()
        self.published = False

    def changed(self) -> None:
        """Publish at once."""
        self._wake.set()

    async def publish(self) -> None:
        """Patch the ConfigMap; raises `ClusterError`."""
        data = {"ca.crt": self._ca, **await asyncio.to_thread(self._keys.published)}
        await self._cluster.merge_patch(CONFIG_MAPS, self._name, {"data": data}, namespace=self._namespace)
        if not self.published:
            events_log.note("public.published", config_map=self._name, entries=sorted(data))
        self.published = True

    async def run(self) -> None:
        """Publish now, upon every change, and now and then."""
        while True:
            self._wake.clear()
            try:
                await self.publish()
                pause = _REPEAT_SECONDS
            except Error as fault:
                events_log.warn("public.unpublished", config_map=self._name, why=str(fault))
                pause = _RETRY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue


def _file_name(key: PublicKey) -> str:
    return f"signing-{key.digest.hex()[:16]}.pub"
