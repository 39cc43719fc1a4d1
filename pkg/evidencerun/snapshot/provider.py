# SPDX-License-Identifier: Apache-2.0
"""`K8s.node.provider` as AICR derives it from a node's providerID.

It names a cloud and is written for AICR's readers; that a node runs on AWS does not make the cluster an EKS, so our
fingerprint never decides by it alone.
"""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,62})://")
_ALIASES: Final = {"aws": "eks", "gce": "gke", "azure": "aks", "oci": "oke"}


def scheme_of(provider_id: str) -> str:
    """Return the lowercase scheme of a providerID, `oci` for the bare OCIDs of Oracle's cloud, "" if there is none."""
    if provider_id.startswith("ocid1."):
        return "oci"
    found = _SCHEME.match(provider_id)
    return found.group(1).lower() if found else ""


def provider_of(provider_id: str) -> str:
    """Return AICR's word for the providerID; an unknown scheme stands for itself."""
    scheme = scheme_of(provider_id)
    return _ALIASES.get(scheme, scheme)
