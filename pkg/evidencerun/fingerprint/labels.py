# SPDX-License-Identifier: Apache-2.0
"""Node labels: those on which the fingerprint stands, which redaction must keep, and those that a plan freezes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from evidencerun import limits
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


@lru_cache(maxsize=4096)
def is_used(key: str) -> bool:
    """Return whether the fingerprint looks at a label: at its value, or at its being there."""
    return key in USED or any(row.label_of((key,)) for row in services())


_ALSO_FROZEN: Final = (
    "topology.kubernetes.io/",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "nvidia.com/",
    "amd.com/",
    "feature.node.kubernetes.io/",
    "cloud.google.com/",
    "kubernetes.azure.com/",
    "node.coreweave.com/",
    "karpenter.sh/",
    "karpenter.k8s.aws/",
    "karpenter.azure.com/",
    "node.openshift.io/",
    "kwok.x-k8s.io/",
    "run.ai/",
)
"""Labels, or prefixes that end in a slash, that say something about hardware, cloud or simulation to people and to
constraints."""


@lru_cache(maxsize=4096)
def is_frozen(key: str) -> bool:
    """Return whether a plan keeps a node's label: all that is used, and what else says something about the machine."""
    return is_used(key) or any(key == row or (row[-1] == "/" and key.startswith(row)) for row in _ALSO_FROZEN)


def frozen_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a node that a plan keeps, sorted; if there are too many, those that are used come first."""
    ranked = sorted((not is_used(key), key) for key in labels if is_frozen(key))
    return {key: labels[key] for key in sorted(key for _, key in ranked[: limits.NODE_LABELS_MAX])}
