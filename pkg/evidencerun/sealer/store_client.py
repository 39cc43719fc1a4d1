# SPDX-License-Identifier: Apache-2.0
"""The sealer's side of the store's API. Answers are bounded; the store is not trusted with memory."""

from __future__ import annotations

import ssl
from typing import Final

import httpx
from pydantic import ValidationError

from evidencerun import __version__, limits
from evidencerun.errors import StoreError
from evidencerun.sealer.settings import Settings
from evidencerun.validation.storeapi import SealAnswer, SealTask

_SECONDS: Final = httpx.Timeout(20, connect=5)
_LAYER_SECONDS: Final = httpx.Timeout(120, connect=5)
_TASK_MAX: Final = 2 * limits.MIB


class StoreClient:
    """Connects anew whenever the published CA changes; the token is read anew for each call, as it is rotated."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: httpx.Client | None = None
        self._ca = ""

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def next_task(self) -> SealTask | None:
        """Return the next bundle to sign, or None."""
        status, body = self._call("GET", "/v1/seal", limit=_TASK_MAX)
        if status == 204:
            return None
        try:
            return SealTask.model_validate_json(body)
        except ValidationError as fault:
            raise StoreError(
                "E4602", "the store's answer cannot be read", why=f"{fault.error_count()} faults"
            ) from fault

    def layer(self, manifest_digest: str) -> bytes:
        """Return the layer's bytes, once, into memory."""
        path = f"/v1/seal/{manifest_digest}/layer"
        return self._call("GET", path, limit=limits.BUNDLE_ARCHIVE_MAX, timeout=_LAYER_SECONDS)[1]

    def answer(self, manifest_digest: str, answer: SealAnswer) -> None:
        """Hand in the attestation, or the reason why there is none."""
        body = answer.model_dump_json(by_alias=True).encode()
        self._call("PUT", f"/v1/seal/{manifest_digest}", body=body)

    def publish(self, public_pem: bytes) -> None:
        """Publish the public key."""
        self._call("PUT", "/v1/keys", body=public_pem, content_type="application/x-pem-file")

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        content_type: str = "application/json",
        limit: int = limits.API_ERROR_MAX,
        timeout: httpx.Timeout = _SECONDS,
    ) -> tuple[int, bytes]:
        try:
            headers = {"Authorization": f"Bearer {self._settings.token.read_text().strip()}"}
            if body:
                headers["Content-Type"] = content_type
            with self._connected().stream(method, path, content=body, headers=headers, timeout=timeout) as response:
                data = _bounded(response, limit if response.status_code < 400 else limits.API_ERROR_MAX, path)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as fault:
            self.close()
            why = str(fault) or type(fault).__name__
            raise StoreError("E4600", "the store cannot be reached", where=self._settings.store_url, why=why) from fault
        if response.status_code >= 400:
            why = data.decode("utf-8", "replace").strip()[:1000]
            retryable = response.status_code >= 500
            what = f"the store refuses {method} {path.split('/')[2]} with {response.status_code}"
            raise StoreError("E4601", what, why=why, retryable=retryable)
        return response.status_code, data

    def _connected(self) -> httpx.Client:
        authority = self._settings.store_ca.read_bytes().decode("ascii", "ignore")
        if self._client is None or authority != self._ca:
            self.close()
            if not authority.strip():
                # Python would trust the authorities of the system in its place.
                raise ssl.SSLError("the file with the store's CA is empty")
            context = ssl.create_default_context(cadata=authority)
            self._client = httpx.Client(
                base_url=self._settings.store_url,
                verify=context,
                trust_env=False,
                headers={"User-Agent": f"evidence-sealer/{__version__}", "Accept-Encoding": "identity"},
            )
            self._ca = authority
        return self._client


def _bounded(response: httpx.Response, limit: int, path: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in response.iter_raw():
        size += len(piece)
        if size > limit:
            raise StoreError("E4603", f"the store's answer to {path.split('/')[2]} is longer than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)
