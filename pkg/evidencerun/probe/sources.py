# SPDX-License-Identifier: Apache-2.0
"""The list of sources of a probe, cheapest and surest first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from evidencerun import limits
from evidencerun.probe import dmi, gpumodules, kernelinfo, kfd, markers, nvmlchild, nvmlreading, pci, sandbox, sysctl
from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Promise, Reading, Source
from evidencerun.snapshot.report import Dimension, Level, Tier

_MARGIN_SECONDS: Final = 10.0
"""The NVML child is killed by its own deadline; its thread gets this much longer to say so."""


def sources(
    tree: HostTree, *, machine: str, environ: Mapping[str, str], vendor: bool, nvml_seconds: float
) -> list[Source]:
    """Return the sources to read; `vendor` False (access pciOnly) leaves out level L2."""
    found = kernel_sources(tree, machine=machine, environ=environ)
    if vendor:
        found.append(
            Source(
                name="nvml",
                level=Level.VENDOR,
                read=partial(read_nvml, nvml_seconds, environ),
                promises=_promises(
                    Tier.DRIVER, (Dimension.ACCELERATOR, "nvml.name"), (Dimension.DRIVER, "nvml.driver")
                ),
                seconds=nvml_seconds + _MARGIN_SECONDS,
            )
        )
    return found


def kernel_sources(tree: HostTree, *, machine: str, environ: Mapping[str, str]) -> list[Source]:
    """Return the sources of level L1."""
    kernel_promises = _promises(
        Tier.KERNEL,
        (Dimension.KERNEL, "kernel.release"),
        (Dimension.KERNEL, "kernel.boot-id"),
    )
    pci_promises = _promises(
        Tier.KERNEL,
        (Dimension.ACCELERATOR, "pci.device"),
        (Dimension.FABRIC, "pci.nvswitch"),
        (Dimension.FABRIC, "pci.network"),
    )
    os_promises = _promises(Tier.KERNEL, (Dimension.OS, "host.os-release"))
    kfd_promises = _promises(Tier.KERNEL, (Dimension.ACCELERATOR, "kfd.device"))
    nvidia_promises = _promises(Tier.KERNEL, (Dimension.DRIVER, "nvidia.module"))
    return [
        Source(name="sandbox", level=Level.KERNEL, read=partial(sandbox.read_sandbox, tree)),
        Source(
            name="kernel",
            level=Level.KERNEL,
            read=partial(kernelinfo.read_kernel, tree, machine),
            promises=kernel_promises,
        ),
        Source(name="pci", level=Level.KERNEL, read=partial(pci.read_pci, tree), promises=pci_promises),
        Source(
            name="os-release",
            level=Level.KERNEL,
            read=partial(kernelinfo.read_os_release, tree),
            promises=os_promises,
        ),
        Source(name="kmod", level=Level.KERNEL, read=partial(kernelinfo.read_modules, tree)),
        Source(name="cmdline", level=Level.KERNEL, read=partial(kernelinfo.read_command_line, tree)),
        Source(name="sysctl", level=Level.KERNEL, read=partial(sysctl.read_sysctl, tree)),
        Source(name="dmi", level=Level.KERNEL, read=partial(dmi.read_dmi, tree)),
        Source(name="kfd", level=Level.KERNEL, read=partial(kfd.read_kfd, tree), promises=kfd_promises),
        Source(
            name="nvidia-proc",
            level=Level.KERNEL,
            read=partial(gpumodules.read_nvidia_module, tree),
            promises=nvidia_promises,
        ),
        Source(name="amdgpu-module", level=Level.KERNEL, read=partial(gpumodules.read_amdgpu_module, tree)),
        Source(name="markers", level=Level.KERNEL, read=partial(markers.read_markers, tree, environ)),
    ]


def read_nvml(seconds: float, environ: Mapping[str, str]) -> Reading:
    """Run the NVML reader and return what it said."""
    return nvmlreading.nvml_reading(nvmlchild.run_child(min(seconds, limits.NVML_SECONDS), environ=environ))


def _promises(tier: Tier, *named: tuple[Dimension, str]) -> tuple[Promise, ...]:
    return tuple(Promise(dimension=dimension, id=signal_id, tier=tier) for dimension, signal_id in named)
