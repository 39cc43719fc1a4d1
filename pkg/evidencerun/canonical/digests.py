# SPDX-License-Identifier: Apache-2.0
"""SHA-256 in the two spellings that the evidence formats use, and RFC 8785 JSON."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import rfc8785

from evidencerun.errors import InputError


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lowercase hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_prefixed(data: bytes) -> str:
    """Return the SHA-256 of `data` as `sha256:` and 64 lowercase hexadecimal digits."""
    return f"sha256:{sha256_hex(data)}"


def canonical_json(value: object) -> bytes:
    """Return the RFC 8785 form of a value made of dict, list, str, int, float, bool and None.

    Raises:
        InputError: the value has no such form (an integer beyond 2^53, NaN, a lone surrogate, another type).

    """
    try:
        return rfc8785.dumps(cast("Any", value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as fault:
        raise InputError("E1120", "the value has no canonical JSON form", why=str(fault)) from fault
    except RecursionError as fault:
        raise InputError("E1120", "the value has no canonical JSON form", why="it is nested too deeply") from fault
