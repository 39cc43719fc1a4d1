# SPDX-License-Identifier: Apache-2.0
"""Data: the criteria values that AICR's own recipes use, and the aliases that it accepts.

Source: AICR's recipe schema (commit 044470f8) and additions in its code, plus `none` as accelerator, which is
ours and means "no accelerator on any node". The enumeration is open: recipes from an external data directory may name
others, which are accepted and reported by lint.
"""

from __future__ import annotations

from typing import Final

KNOWN: Final[dict[str, frozenset[str]]] = {
    "service": frozenset(("aks", "bcm", "eks", "generic", "gke", "k0s", "kind", "lke", "metal3", "ocp", "oke", "rke2")),
    "accelerator": frozenset(
        ("a100", "b200", "gb200", "gb300", "h100", "h200", "l40", "l40s", "none", "rtx-pro-6000", "vr200")
    ),
    "os": frozenset(("amazonlinux", "cos", "ol", "rhel", "sles", "talos", "ubuntu")),
    "intent": frozenset(("inference", "training")),
    "platform": frozenset(("dynamo", "kubeflow", "kueue", "nim", "runai", "slurm")),
}
ALIASES: Final[dict[str, dict[str, str]]] = {
    "service": {"self-managed": "any", "self": "any", "vanilla": "any"},
    "os": {"al2": "amazonlinux", "al2023": "amazonlinux"},
}


def normalise(dimension: str, text: str) -> str:
    """Return the value as criteria are compared: trimmed, lower case, aliases resolved."""
    value = text.strip().lower()
    return ALIASES.get(dimension, {}).get(value, value)
