# SPDX-License-Identifier: Apache-2.0
"""Data: the addresses that constraints can name, who fills them, and which checks read which names.

Sources: the snapshot paths and validator inputs of AICR's newest release; what our probe and API facts fill
(`evidencerun.snapshot`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtype:
    """A group of snapshot readings: its known keys, whether others may occur, whether our collectors fill it."""

    keys: tuple[str, ...] = ()
    open: bool = False
    filled: bool = True


_NODE_KEYS: Final = (
    "source-node", "provider", "provider-id", "container-runtime-id", "container-runtime-name",
    "container-runtime-version", "kubelet-version", "kernel-version", "operating-system", "os-image",
)  # fmt: skip
_SMI_KEYS: Final = (
    "driver", "cuda-version", "gpu-count", "gpu.model", "gpu.product-architecture", "gpu.addressing-mode",
    "gpu.display-mode", "gpu.display-active", "gpu.persistence-mode", "gpu.vbios-version", "gpu.gsp-firmware-version",
)  # fmt: skip
_OPERATOR_KEYS: Final = ("collection-state", "api-available", "api-version")

SUBTYPES: Final[dict[str, dict[str, Subtype]]] = {
    "K8s": {
        "server": Subtype(keys=("version", "platform", "goVersion")),
        "node": Subtype(keys=_NODE_KEYS),
        "image": Subtype(open=True, filled=False),
        "policy": Subtype(open=True, filled=False),
        "helm": Subtype(open=True, filled=False),
        "aks-gpu-pools": Subtype(keys=("gpu-pool-count", "gpu-pools", "gpu-driver"), filled=False),
        "gke-gpu-pools": Subtype(keys=("gpu-pool-count", "gpu-pools", "gpu-driver-installation"), filled=False),
        "oke-addons": Subtype(keys=("addon-count", "nvidia-gpu-plugin"), filled=False),
        "oke-legacy-plugin": Subtype(keys=("nvidia-gpu-device-plugin", "daemonset"), filled=False),
        "slinky-slurm": Subtype(open=True, filled=False),
        "mariadb-operator": Subtype(keys=_OPERATOR_KEYS, filled=False),
        "percona-server-mongodb": Subtype(keys=_OPERATOR_KEYS, filled=False),
        "default-storage-class": Subtype(
            keys=("collection-state", "default-count", "default-classes"), filled=False
        ),
    },
    "GPU": {
        "hardware": Subtype(keys=("gpu-present", "gpu-count", "driver-loaded", "detection-source", "model")),
        "smi": Subtype(keys=_SMI_KEYS),
    },
    "OS": {
        "release": Subtype(
            keys=("ID", "VERSION_ID", "ID_LIKE", "NAME", "PRETTY_NAME", "VERSION", "VERSION_CODENAME"), open=True
        ),
        "sysctl": Subtype(keys=("/proc/sys/kernel/osrelease",), open=True),
        "kmod": Subtype(open=True),
        "grub": Subtype(open=True),
        "extensions": Subtype(open=True, filled=False),
    },
    "NodeTopology": {
        "summary": Subtype(keys=("node-count", "taint-count", "label-count")),
        "label": Subtype(open=True),
        "taint": Subtype(open=True, filled=False),
    },
    "NetworkTopology": {
        "identity": Subtype(keys=("pf-count", "rail-count"), filled=False),
        "capabilities": Subtype(keys=("sriov", "rdma", "ib"), filled=False),
        "pfs": Subtype(
            keys=(
                "pciAddress", "deviceID", "psid", "partNumber", "rdmaDevice", "networkInterface", "model",
                "connectedGPU", "gpuProximity", "rail", "numaNode", "traffic",
            ),
            filled=False,
        ),
        "kernel-modules": Subtype(open=True, filled=False),
    },
}  # fmt: skip
"""Type, then subtype. `SystemD` is not here: any unit and any property is an address, and none is filled."""

SYSTEMD: Final = "SystemD"
GPU_NODE_LABEL: Final = "NodeTopology.gpu-nodes.label"
"""The virtual path over the labels of all GPU nodes; its value is a `LabelRule`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputName:
    """A name that checks read from the constraints of their own phase. `bare`: a plain value, no expression."""

    phase: str
    checks: tuple[str, ...]
    bare: bool = False


_NCCL: Final = ("nccl-all-reduce-bw", "nccl-all-reduce-bw-net", "nccl-all-reduce-bw-nvls")
_INFERENCE: Final = ("inference-perf",)

VALIDATOR_INPUTS: Final[dict[str, InputName]] = {
    "Deployment.gpu-operator.version": InputName(phase="deployment", checks=("gpu-operator-version",)),
    "Deployment.gpu-driver.version": InputName(phase="deployment", checks=("check-nvidia-smi",)),
    "nccl-all-reduce-bw": InputName(phase="performance", checks=("nccl-all-reduce-bw",)),
    "nccl-all-reduce-bw-net": InputName(phase="performance", checks=("nccl-all-reduce-bw-net",)),
    "nccl-all-reduce-bw-nvls": InputName(phase="performance", checks=("nccl-all-reduce-bw-nvls",)),
    "nccl-cre-all-reduce-bw": InputName(phase="performance", checks=("nccl-cre-all-reduce-bw",)),
    "cre-training-goodput": InputName(phase="performance", checks=("cre-training-goodput",)),
    "inference-throughput": InputName(phase="performance", checks=_INFERENCE),
    "inference-ttft-p99": InputName(phase="performance", checks=_INFERENCE),
    "inference-model": InputName(phase="performance", checks=_INFERENCE, bare=True),
    "inference-concurrency-per-gpu": InputName(phase="performance", checks=_INFERENCE, bare=True),
    "inference-routing-mode": InputName(phase="performance", checks=_INFERENCE, bare=True),
    "inference-model-cache-storage-class": InputName(phase="performance", checks=_INFERENCE, bare=True),
    "nccl-benchmark-profile": InputName(phase="performance", checks=_NCCL, bare=True),
    "nccl-benchmark-runtime-ref": InputName(phase="performance", checks=_NCCL, bare=True),
}
