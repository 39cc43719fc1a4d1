# SPDX-License-Identifier: Apache-2.0
"""URLs that a registry hands out (Location, Link, realm), read with care."""

from __future__ import annotations

from urllib.parse import urljoin

import httpx

from evidencerun.oci.faults import mismatch


def absolute(base: str, text: str) -> httpx.URL:
    """Return the URL `text` as seen from `base`. Raises `RegistryError` E7420 for one that cannot be read."""
    try:
        url = httpx.URL(urljoin(base, text))
    except (httpx.InvalidURL, ValueError) as fault:
        raise mismatch(base, "the registry gave a URL that cannot be read", f"{text[:200]!r}: {fault}") from fault
    if not url.host:
        raise mismatch(base, "the registry gave a URL without a host", f"found {text[:200]!r}")
    return url
