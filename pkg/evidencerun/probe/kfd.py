# SPDX-License-Identifier: Apache-2.0
"""AMD's compute topology, /sys/class/kfd/kfd/topology: a stable kernel interface that needs no ROCm.

One board in CPX mode shows up to eight nodes, so boards are counted by `unique_id`; without it each node counts.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Reading, SourceAbsentError, SourceFailedError, counted, kernel_signal
from evidencerun.snapshot.report import Dimension, Scalar, UnknownReason

_NODES: Final = "sys/class/kfd/kfd/topology/nodes"
_COMMON: Final = ("gfx_target_version", "simd_count", "num_xcc", "max_engine_clk_fcompute")


@dataclass(frozen=True, slots=True, kw_only=True)
class KfdNode:
    """One GPU node: its numeric properties and the bytes of its memory banks."""

    properties: dict[str, int]
    memory: int

    @property
    def pci_id(self) -> str:
        """Vendor and device, as in `1002:74a1`."""
        return f"{self.properties.get('vendor_id', 0):04x}:{self.properties.get('device_id', 0):04x}"


def read_kfd(tree: HostTree) -> Reading:
    """Return `kfd.device`, `kfd.hive` and measurement GPU.kfd.

    Absent without the driver. Newer kernels refuse the properties of GPUs that the pod's device cgroup does not hold:
    that is `permission`, with what could be read beside it.
    """
    if not tree.exists(_NODES):
        raise SourceAbsentError(UnknownReason.NO_DRIVER, f"/{_NODES} does not exist")
    gpus, denied = _read_nodes(tree)
    reading = _reading(gpus) if gpus else Reading()
    if denied:
        what = f"{denied} of {denied + len(gpus)} KFD nodes may not be read from this container"
        raise SourceFailedError(UnknownReason.PERMISSION, what, partial=reading)
    if not gpus:
        raise SourceAbsentError(UnknownReason.NOT_APPLICABLE, "KFD lists no GPU")
    return reading


def parse_properties(text: str) -> dict[str, int]:
    """Return the lines `name number`; other lines are left out."""
    fields = [line.split() for line in text.splitlines()]
    return {field[0]: int(field[1]) for field in fields if len(field) == 2 and field[1].isdecimal()}


def _read_nodes(tree: HostTree) -> tuple[list[KfdNode], int]:
    gpus: list[KfdNode] = []
    denied = 0
    for node in sorted(tree.names(_NODES), key=lambda name: (len(name), name)):
        try:
            properties = parse_properties(tree.text(f"{_NODES}/{node}/properties"))
        except OSError as fault:
            if fault.errno not in (errno.EPERM, errno.EACCES):
                raise
            denied += 1
            continue
        if properties.get("simd_count", 0) > 0:
            gpus.append(KfdNode(properties=properties, memory=_memory(tree, node)))
    return gpus, denied


def _memory(tree: HostTree, node: str) -> int:
    folder = f"{_NODES}/{node}/mem_banks"
    banks = tree.names(folder) if tree.exists(folder) else []
    sizes = [parse_properties(tree.text_or(f"{folder}/{bank}/properties")) for bank in banks]
    return sum(size.get("size_in_bytes", 0) for size in sizes)


def _reading(gpus: list[KfdNode]) -> Reading:
    unique = [gpu.properties.get("unique_id", 0) for gpu in gpus]
    boards = len(set(unique) - {0}) + unique.count(0)
    hives = {gpu.properties.get("hive_id", 0) for gpu in gpus} - {0}
    signals = (
        (
            Dimension.ACCELERATOR,
            kernel_signal("kfd.device", counted([gpu.pci_id for gpu in gpus]), str(boards)),
        ),
        (Dimension.FABRIC, kernel_signal("kfd.hive", f"{len(hives)} hives", str(len(hives)))),
    )
    return Reading(signals=signals, measurements={"GPU.kfd": _measurement(gpus, boards)})


def _measurement(gpus: list[KfdNode], boards: int) -> dict[str, Scalar]:
    """Return counts, and what all GPUs of the node have in common; what differs is listed with its counts."""
    fields: dict[str, Scalar] = {"node-count": len(gpus), "board-count": boards}
    for name in _COMMON:
        values = [gpu.properties[name] for gpu in gpus if name in gpu.properties]
        if values:
            fields[name] = values[0] if len(set(values)) == 1 else counted([str(value) for value in values])
    memory = {gpu.memory for gpu in gpus}
    if memory != {0}:
        texts = [str(gpu.memory) for gpu in gpus]
        fields["memory-bytes"] = gpus[0].memory if len(memory) == 1 else counted(texts)
    return fields
