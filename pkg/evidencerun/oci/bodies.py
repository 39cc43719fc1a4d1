# SPDX-License-Identifier: Apache-2.0
"""Bodies of answers, read in pieces under a limit: nobody else bounds what a registry or a token service sends."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from evidencerun import limits
from evidencerun.oci.faults import mismatch, unreachable


def body_of(response: httpx.Response, max_bytes: int) -> Iterator[bytes]:
    """Yield the body in pieces. Raises `RegistryError` E7420 as soon as it is longer than `max_bytes`."""
    seen = 0
    where = f"{response.request.method} {response.request.url.netloc.decode()}{response.request.url.path}"
    try:
        for piece in response.iter_bytes(64 * limits.KIB):
            seen += len(piece)
            if seen > max_bytes:
                raise mismatch(where, "the registry's answer is too long", f"more than {max_bytes} bytes")
            yield piece
    except httpx.HTTPError as fault:
        raise unreachable(where, fault) from fault


def start_of(response: httpx.Response) -> bytes:
    """Return the start of an error's body; what is wrong with it does not matter any more."""
    data = b""
    try:
        for piece in response.iter_bytes(4 * limits.KIB):
            data += piece
            if len(data) >= limits.OCI_ERROR_MAX:
                break
    except httpx.HTTPError:
        return data
    return data[: limits.OCI_ERROR_MAX]
