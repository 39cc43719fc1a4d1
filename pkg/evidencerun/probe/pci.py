# SPDX-License-Identifier: Apache-2.0
"""PCI functions from /sys/bus/pci/devices: the best single statement about accelerators.

It needs no driver, no privilege and no label. Only a successful read without any accelerator may say "none".
Which product an id stands for is not decided here.
"""

from __future__ import annotations

from typing import Final

from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Reading, SourceFailedError, counted, kernel_signal
from evidencerun.probe.sandbox import in_gvisor
from evidencerun.snapshot.report import Dimension, PciDevice, Scalar, Signal, UnknownReason

_DEVICES: Final = "sys/bus/pci/devices"
_GPU_VENDORS: Final = frozenset({"10de", "1002"})
_GPU_CLASSES: Final = ("0300", "0380")
"""VGA and display controllers: AMD Instinct shows as 0380; of other vendors these are consoles of the machine."""
_ACCELERATOR_CLASSES: Final = ("0302", "1200")
"""3D controllers (NVIDIA's datacenter parts) and processing accelerators, of any vendor."""
_NVSWITCH_CLASS: Final = "0680"
_NETWORK_CLASS: Final = "02"


def read_pci(tree: HostTree) -> Reading:
    """Return all functions, and the signals `pci.device`, `pci.nvswitch` and `pci.network`.

    Raises `SourceFailedError` if the bus or any function on it cannot be read: a partial list must not look whole.
    """
    devices = tuple(_read_device(tree, address) for address in _addresses(tree))
    if not devices and in_gvisor(tree):
        raise SourceFailedError(UnknownReason.SANDBOXED, "the sandbox (gVisor) hides the PCI bus")
    accelerators = [device for device in devices if is_accelerator(device)]
    signals = [
        (Dimension.ACCELERATOR, _id_signal("pci.device", accelerators, none="none")),
        (Dimension.FABRIC, _id_signal("pci.nvswitch", [d for d in devices if _is_nvswitch(d)])),
        (Dimension.FABRIC, _id_signal("pci.network", [d for d in devices if _is_network(d)])),
    ]
    hardware: dict[str, Scalar] = {
        "gpu-present": bool(accelerators),
        "gpu-count": sum(device.physical_function for device in accelerators),
        "driver-loaded": tree.exists("sys/module/nvidia") or tree.exists("sys/module/amdgpu"),
        "detection-source": "sysfs",
    }
    return Reading(signals=tuple(signals), measurements={"GPU.hardware": hardware}, pci=devices)


def is_accelerator(device: PciDevice) -> bool:
    """Tell whether a function is a GPU or another accelerator, by class, and for displays by vendor too."""
    if device.class_code.startswith(_ACCELERATOR_CLASSES):
        return True
    return device.vendor in _GPU_VENDORS and device.class_code.startswith(_GPU_CLASSES)


def _is_nvswitch(device: PciDevice) -> bool:
    return device.vendor == "10de" and device.class_code.startswith(_NVSWITCH_CLASS)


def _is_network(device: PciDevice) -> bool:
    return device.class_code.startswith(_NETWORK_CLASS)


def _id_signal(signal_id: str, devices: list[PciDevice], none: str = "") -> Signal:
    ids = [f"{device.vendor}:{device.device}" for device in devices if device.physical_function]
    return kernel_signal(signal_id, counted(ids), none if not ids else "")


def _addresses(tree: HostTree) -> list[str]:
    try:
        addresses = tree.names(_DEVICES)
    except FileNotFoundError as fault:
        reason = UnknownReason.SANDBOXED if in_gvisor(tree) else UnknownReason.UNREADABLE
        raise SourceFailedError(reason, f"/{_DEVICES} does not exist") from fault
    if not addresses and not tree.exists("sys/bus/pci/drivers"):
        raise SourceFailedError(UnknownReason.UNREADABLE, f"/{_DEVICES} is empty and not the kernel's")
    return addresses


def _read_device(tree: HostTree, address: str) -> PciDevice:
    folder = f"{_DEVICES}/{address}"

    def number(name: str, digits: int) -> str:
        return _hex(tree.text(f"{folder}/{name}"), digits, f"{address}/{name}")

    subsystem = ""
    if tree.exists(f"{folder}/subsystem_vendor"):
        subsystem = f"{number('subsystem_vendor', 4)}:{number('subsystem_device', 4)}"
    return PciDevice(
        address=address,
        vendor=number("vendor", 4),
        device=number("device", 4),
        class_code=number("class", 6),
        subsystem=subsystem,
        driver=tree.link_name(f"{folder}/driver"),
        physical_function=not tree.exists(f"{folder}/physfn"),
    )


def _hex(text: str, digits: int, where: str) -> str:
    """Return `0x10DE` as `10de`."""
    try:
        value = int(text, 16)
    except ValueError as fault:
        what = f"{where} holds {text[:20]!r}, not a hexadecimal number"
        raise SourceFailedError(UnknownReason.UNREADABLE, what) from fault
    return f"{value:0{digits}x}"
