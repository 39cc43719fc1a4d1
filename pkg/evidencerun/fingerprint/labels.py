# SPDX-License-Identifier: Apache-2.0
"""The node labels on which the fingerprint stands: what the plan must freeze, and redaction must keep."""

from __future__ import annotations

from typing import Final

from evidencerun.fingerprint.tables import services

REGION: Final = "topology.kubernetes.io/region"
ZONE: Final = "topology.kubernetes.io/zone"
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
GKE_ACCELERATOR: Final = "cloud.google.com/gke-accelerator"
GFD_PRODUCT: Final = "nvidia.com/gpu.product"
PRODUCTS: Final = (GFD_PRODUCT, "amd.com/gpu.product-name", "beta.amd.com/gpu.product-name")
KWOK: Final = "type"
"""`type=kwok` marks a simulated node."""

USED: Final = (REGION, ZONE, INSTANCE_TYPE, GKE_ACCELERATOR, *PRODUCTS, KWOK)
"""Labels whose values are used. Of a service's labels only the keys are: see `is_used`."""


def is_used(key: str) -> bool:
    """Return whether the fingerprint looks at a label: at its value, or at its being there."""
    return key in USED or any(row.label_of((key,)) for row in services())
