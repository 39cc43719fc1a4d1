# SPDX-License-Identifier: Apache-2.0
"""DSSE's pre-authentication encoding: the bytes that are really signed (DSSE protocol, v1.0.2)."""

from __future__ import annotations

from typing import Final

IN_TOTO_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return `DSSEv1 <len> <type> <len> <payload>`; lengths are decimal byte counts."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
