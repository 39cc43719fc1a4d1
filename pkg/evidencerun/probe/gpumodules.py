# SPDX-License-Identifier: Apache-2.0
"""What the kernel modules of NVIDIA and AMD say without their user space."""

from __future__ import annotations

import re
from typing import Final

from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Reading, SourceAbsentError, SourceFailedError, kernel_signal
from evidencerun.snapshot.report import Dimension, UnknownReason

_PROC: Final = "proc/driver/nvidia"
_VERSION: Final = re.compile(r"\b([0-9]{3,4}\.[0-9]+(?:\.[0-9]+)?)\b")


def read_nvidia_module(tree: HostTree) -> Reading:
    """Return `nvidia.module` (version of the loaded module) and `nvidia.proc-model` (one per product name it drives).

    The container toolkit hides GPUs that the pod was not given in /proc/driver/nvidia: its count is no count of the
    node's GPUs.
    """
    banner = tree.text_or(f"{_PROC}/version")
    version = tree.text_or("sys/module/nvidia/version") or _version_in(banner)
    if not version:
        if tree.exists("sys/module/nvidia") or banner:
            raise SourceFailedError(UnknownReason.UNREADABLE, "the nvidia module is loaded and names no version")
        raise SourceAbsentError(UnknownReason.NO_DRIVER, "the nvidia module is not loaded")
    first_line = banner.splitlines()[0] if banner else version
    names = sorted(set(_models(tree)))
    signals = [(Dimension.DRIVER, kernel_signal("nvidia.module", first_line, version))]
    signals += [(Dimension.ACCELERATOR, kernel_signal("nvidia.proc-model", name)) for name in names]
    return Reading(signals=tuple(signals))


def read_amdgpu_module(tree: HostTree) -> Reading:
    """Return `amdgpu.module`: the version of the DKMS driver, or `inbox` for the kernel's own, which has none."""
    if not tree.exists("sys/module/amdgpu"):
        raise SourceAbsentError(UnknownReason.NO_DRIVER, "the amdgpu module is not loaded")
    version = tree.text_or("sys/module/amdgpu/version")
    raw = version or f"inbox {tree.text_or('sys/module/amdgpu/srcversion')}".strip()
    signal = kernel_signal("amdgpu.module", raw, version or "inbox")
    return Reading(signals=((Dimension.DRIVER, signal),))


def _version_in(banner: str) -> str:
    match = _VERSION.search(banner.partition("\n")[0])
    return match[1] if match else ""


def _models(tree: HostTree) -> list[str]:
    try:
        addresses = tree.names(f"{_PROC}/gpus")
    except OSError:
        return []
    models = []
    for address in addresses:
        text = tree.text_or(f"{_PROC}/gpus/{address}/information")
        match = re.search(r"^Model:\s*(.+)$", text, re.MULTILINE)
        if match:
            models.append(match[1].strip())
    return models
