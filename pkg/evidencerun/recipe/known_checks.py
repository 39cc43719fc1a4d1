# SPDX-License-Identifier: Apache-2.0
"""Data: the checks that a catalog is known to have, with their phase.

Sources: AICR's validator catalogs of v0.11.1 and of September 2026, and our own built-in checks. A policy's catalog
may have others; the list serves lint alone.
"""

from __future__ import annotations

from typing import Final

KNOWN_CHECKS: Final[dict[str, str]] = {
    "operator-health": "deployment",
    "expected-resources": "deployment",
    "gpu-operator-version": "deployment",
    "check-nvidia-smi": "deployment",
    "gke-gpu-nic-networks": "deployment",
    "node-agreement": "deployment",
    "dra-support": "conformance",
    "gang-scheduling": "conformance",
    "accelerator-metrics": "conformance",
    "ai-service-metrics": "conformance",
    "inference-gateway": "conformance",
    "pod-autoscaling": "conformance",
    "cluster-autoscaling": "conformance",
    "robust-controller": "conformance",
    "secure-accelerator-access": "conformance",
    "slinky-slurm-health": "conformance",
    "slinky-slurm-imex-channel": "conformance",
    "gpu-operator-health": "conformance",
    "platform-health": "conformance",
    "nccl-all-reduce-bw": "performance",
    "nccl-all-reduce-bw-net": "performance",
    "nccl-all-reduce-bw-nvls": "performance",
    "nccl-cre-all-reduce-bw": "performance",
    "cre-training-goodput": "performance",
    "inference-perf": "performance",
}
