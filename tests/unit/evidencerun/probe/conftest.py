# SPDX-License-Identifier: Apache-2.0
"""Machines made of files, and a stand-in for NVIDIA's library built with the C compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from evidencerun.probe.hosttree import HostTree

BANNER = "Linux version 6.8.0-1024-aws (builder) #26-Ubuntu SMP"


class Machine:
    """A root folder with the shape of a node's /proc and /sys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = HostTree(root)
        self.write("proc/version", BANNER)
        self.write("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=LABEL=x quiet")
        self.write("proc/modules", "nvme 65536 2 - Live 0x0\next4 1 0 - Live 0x0")
        self.write("proc/sys/kernel/osrelease", "6.8.0-1024-aws")
        self.write("proc/sys/kernel/random/boot_id", "11111111-2222-4333-8444-555555555555")
        self.write("host/etc/os-release", 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n')
        (root / "sys/bus/pci/devices").mkdir(parents=True)
        (root / "sys/bus/pci/drivers").mkdir()

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def pci(self, address: str, identity: str, class_code: str, *, virtual: bool = False, driver: str = "") -> None:
        """Add a function; `identity` is vendor:device[:subvendor:subdevice]."""
        folder = f"sys/bus/pci/devices/{address}"
        vendor, device, *subsystem = identity.split(":")
        self.write(f"{folder}/vendor", f"0x{vendor}")
        self.write(f"{folder}/device", f"0x{device}")
        self.write(f"{folder}/class", f"0x{class_code}")
        if subsystem:
            self.write(f"{folder}/subsystem_vendor", f"0x{subsystem[0]}")
            self.write(f"{folder}/subsystem_device", f"0x{subsystem[1]}")
        if virtual:
            (self.root / folder / "physfn").symlink_to("../0000:00:00.0")
        if driver:
            (self.root / folder / "driver").symlink_to(f"../../drivers/{driver}")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A node without any accelerator."""
    return Machine(tmp_path / "machine")


def _build(folder: Path, *flags: str) -> Path:
    source = Path(__file__).with_name("nvml_shim.c")
    library = folder / "libnvidia-ml.so.1"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *flags, "-o", str(library), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"the stand-in cannot be built:\n{done.stderr}"
    return folder


@pytest.fixture(scope="session")
def shim_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def mock_shim_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same library with a string in it that only a mock has."""
    return _build(tmp_path_factory.mktemp("nvml-mock"), "-DSHIM_MOCK")
