# SPDX-License-Identifier: Apache-2.0
"""Sources of level L1 on machines made of files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidencerun import limits
from evidencerun.probe.dmi import read_dmi
from evidencerun.probe.gpumodules import read_amdgpu_module, read_nvidia_module
from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.kernelinfo import (
    parse_command_line,
    parse_os_release,
    read_command_line,
    read_kernel,
    read_modules,
    read_os_release,
)
from evidencerun.probe.kfd import parse_properties, read_kfd
from evidencerun.probe.markers import read_markers
from evidencerun.probe.pci import read_pci
from evidencerun.probe.reading import Reading, SourceAbsentError, SourceFailedError
from evidencerun.probe.sandbox import read_sandbox
from evidencerun.probe.sysctl import read_sysctl
from evidencerun.snapshot.report import Signal, Tier, UnknownReason

if TYPE_CHECKING:
    from tests.unit.evidencerun.probe.conftest import Machine


def signal(reading: Reading, signal_id: str) -> Signal:
    (found,) = [found for _, found in reading.signals if found.id == signal_id]
    return found


# --- PCI -------------------------------------------------------------------------------------------------------------


def test_none_is_said_only_after_a_whole_read(machine: Machine) -> None:
    machine.pci("0000:00:03.0", "1af4:1041", "020000")
    reading = read_pci(machine.tree)
    found = signal(reading, "pci.device")
    assert (found.raw, found.value, found.error) == ("", "none", None)
    assert reading.measurements["GPU.hardware"]["gpu-count"] == 0
    assert signal(reading, "pci.network").raw == "1af4:1041 x1"


def test_eight_h100_and_their_switches(machine: Machine) -> None:
    for number in range(8):
        machine.pci(f"0000:{number:02x}:00.0", "10de:2330:10de:16c1", "030200", driver="nvidia")
    for number in range(4):
        machine.pci(f"0000:a{number}:00.0", "10de:22a3", "068000")
    machine.write("sys/module/nvidia/version", "570.86.15")
    reading = read_pci(machine.tree)
    found = signal(reading, "pci.device")
    assert (found.raw, found.value, found.tier) == ("10de:2330 x8", "", Tier.KERNEL)
    assert signal(reading, "pci.nvswitch").raw == "10de:22a3 x4"
    assert reading.measurements["GPU.hardware"] == {
        "gpu-present": True,
        "gpu-count": 8,
        "driver-loaded": True,
        "detection-source": "sysfs",
    }
    first = reading.pci[0]
    assert (first.address, first.subsystem, first.driver, first.class_code) == (
        "0000:00:00.0",
        "10de:16c1",
        "nvidia",
        "030200",
    )


def test_virtual_functions_beside_their_board_count_for_nothing(machine: Machine) -> None:
    machine.pci("0000:01:00.0", "1002:74a1", "038000")
    machine.pci("0000:01:02.0", "1002:74b5", "038000", virtual=True)
    reading = read_pci(machine.tree)
    assert signal(reading, "pci.device").raw == "1002:74a1 x1"
    assert reading.measurements["GPU.hardware"]["gpu-count"] == 1
    assert [device.physical_function for device in reading.pci] == [True, False]


def test_a_guest_sees_its_virtual_function_as_a_device(machine: Machine) -> None:
    machine.pci("0000:01:00.0", "1002:74b5", "038000")
    assert signal(read_pci(machine.tree), "pci.device").raw == "1002:74b5 x1"


@pytest.mark.parametrize(
    ("identity", "class_code", "counts"),
    [
        ("1a03:2000", "030000", False),  # the console of a server's management controller
        ("8086:46a6", "030000", False),  # an Intel desktop display
        ("10de:1eb8", "030200", True),  # Tesla T4
        ("10de:2204", "030000", True),  # a GeForce is an accelerator all the same
        ("1da3:1060", "120000", True),  # Gaudi: not ours to name, but "none" would be wrong
        ("10de:22a3", "068000", False),  # NVSwitch
        ("10de:22ba", "040300", False),  # the audio function of a GPU
    ],
)
def test_what_counts_as_accelerator(machine: Machine, identity: str, class_code: str, counts: bool) -> None:
    machine.pci("0000:01:00.0", identity, class_code)
    assert (signal(read_pci(machine.tree), "pci.device").value != "none") is counts


def test_a_bus_that_is_not_there_is_a_failure_never_none(tmp_path: Path) -> None:
    (tmp_path / "sys/bus").mkdir(parents=True)
    with pytest.raises(SourceFailedError) as caught:
        read_pci(HostTree(tmp_path))
    assert caught.value.reason is UnknownReason.UNREADABLE


def test_an_empty_folder_that_is_not_the_kernels_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "sys/bus/pci/devices").mkdir(parents=True)
    with pytest.raises(SourceFailedError):
        read_pci(HostTree(tmp_path))


def test_one_unreadable_function_spoils_the_list(machine: Machine) -> None:
    machine.pci("0000:01:00.0", "10de:2330", "030200")
    (machine.root / "sys/bus/pci/devices/0000:01:00.0/class").unlink()
    with pytest.raises(FileNotFoundError):
        read_pci(machine.tree)


def test_a_function_with_words_for_numbers_is_a_failure(machine: Machine) -> None:
    machine.pci("0000:01:00.0", "10de:2330", "030200")
    machine.write("sys/bus/pci/devices/0000:01:00.0/device", "H100")
    with pytest.raises(SourceFailedError, match="hexadecimal"):
        read_pci(machine.tree)


@pytest.mark.parametrize("bus", [True, False])
def test_gvisor_hides_the_bus(machine: Machine, bus: bool) -> None:
    machine.write("proc/version", "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016")
    if not bus:
        (machine.root / "sys/bus/pci/devices").rmdir()
    with pytest.raises(SourceFailedError) as caught:
        read_pci(machine.tree)
    assert caught.value.reason is UnknownReason.SANDBOXED
    assert signal(read_sandbox(machine.tree), "kernel.sandbox").value == "gvisor"


# --- kernel and OS ---------------------------------------------------------------------------------------------------


def test_kernel_gives_release_machine_and_boot_id(machine: Machine) -> None:
    reading = read_kernel(machine.tree, "x86_64")
    assert reading.boot_id == "11111111-2222-4333-8444-555555555555"
    assert signal(reading, "kernel.release").value == "6.8.0-1024-aws"
    assert signal(reading, "kernel.machine").value == "x86_64"


def test_os_release_is_the_hosts(machine: Machine) -> None:
    machine.write("etc/os-release", "ID=debian\nVERSION_ID=12")
    reading = read_os_release(machine.tree)
    assert signal(reading, "host.os-release").raw == "ubuntu 24.04"
    assert reading.measurements["OS.release"]["PRETTY_NAME"] == "Ubuntu 24.04.1 LTS"


def test_os_release_of_the_image_is_never_taken(machine: Machine) -> None:
    machine.write("etc/os-release", "ID=debian")
    (machine.root / "host/etc/os-release").unlink()
    with pytest.raises(FileNotFoundError):
        read_os_release(machine.tree)


def test_os_release_without_a_name_is_a_failure(machine: Machine) -> None:
    machine.write("host/etc/os-release", "VERSION_ID=1")
    with pytest.raises(SourceFailedError):
        read_os_release(machine.tree)


def test_os_release_lines_are_unquoted_and_odd_ones_left_out() -> None:
    text = '# comment\nID=\'rhel\'\nNAME="Red Hat"\nBROKEN="never closed\nlower=1\nEMPTY=\n'
    assert parse_os_release(text) == {"ID": "rhel", "NAME": "Red Hat", "EMPTY": ""}


def test_command_line_keeps_all_but_the_root_disk(machine: Machine) -> None:
    machine.write("proc/cmdline", 'root=UUID=1 quiet hugepages=5128 a="x y" console=tty0 console=ttyS0')
    assert read_command_line(machine.tree).measurements["OS.grub"] == {
        "quiet": "",
        "hugepages": "5128",
        "a": "x y",
        "console": "ttyS0",
    }
    assert parse_command_line("") == {}


def test_modules_are_named(machine: Machine) -> None:
    assert read_modules(machine.tree).measurements["OS.kmod"] == {"ext4": True, "nvme": True}


def test_kernel_without_modules_is_absent_not_empty(machine: Machine) -> None:
    (machine.root / "proc/modules").unlink()
    with pytest.raises(SourceAbsentError):
        read_modules(machine.tree)


def test_sysctl_keeps_the_nodes_own_settings_only(machine: Machine) -> None:
    for name, text in {
        "vm/nr_hugepages": "5128",
        "net/ipv4/ip_forward": "1",
        "dev/cdrom/info": "x",
        "kernel/hostname": "the-pod",
        "kernel/shmmax": "1",
        "kernel/random/uuid": "u",
        "user/max_user_namespaces": "1",
        "fs/file-nr": "1 0 2",
        "kernel/usermodehelper/bset": "4294967295\t511",
        "kernel/spl/taskq": "a 1\nb 2",
    }.items():
        machine.write(f"proc/sys/{name}", text)
    settings = read_sysctl(machine.tree).measurements["OS.sysctl"]
    assert settings == {
        "/proc/sys/kernel/osrelease": "6.8.0-1024-aws",
        "/proc/sys/kernel/spl/taskq/a": "1",
        "/proc/sys/kernel/spl/taskq/b": "2",
        "/proc/sys/kernel/usermodehelper/bset": "4294967295\t511",
        "/proc/sys/vm/nr_hugepages": "5128",
    }


def test_sysctl_follows_no_link_and_leaves_long_values_out(machine: Machine) -> None:
    machine.write("secret", "s")
    machine.write("proc/sys/kernel/long", "x" * 5000)
    (machine.root / "proc/sys/kernel/link").symlink_to(machine.root / "secret")
    settings = read_sysctl(machine.tree).measurements["OS.sysctl"]
    assert set(settings) == {"/proc/sys/kernel/osrelease"}


def test_sysctl_stays_on_its_own_file_system(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write("proc/sys/fs/mounted/setting", "1")
    whole = os.lstat

    def lstat(path: Path) -> os.stat_result:
        found = whole(path)
        if Path(path).name != "mounted":
            return found
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))

    monkeypatch.setattr(os, "lstat", lstat)
    assert set(read_sysctl(machine.tree).measurements["OS.sysctl"]) == {"/proc/sys/kernel/osrelease"}


def test_sysctl_is_not_read_without_end(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        machine.write(f"proc/sys/vm/setting{number}", "1")
    monkeypatch.setattr(limits, "SYSCTL_MAX", 5)
    assert len(read_sysctl(machine.tree).measurements["OS.sysctl"]) == 5
    deep = "/".join("d" * (limits.SYSCTL_DEPTH_MAX + 1))
    machine.write(f"proc/sys/abi/{deep}/setting", "1")
    assert not [
        name for name in read_sysctl(machine.tree).measurements["OS.sysctl"] if name.startswith("/proc/sys/abi")
    ]


def test_sysctl_without_any_file_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(SourceFailedError):
        read_sysctl(HostTree(tmp_path))


def test_dmi_gives_the_readable_part(machine: Machine) -> None:
    machine.write("sys/class/dmi/id/sys_vendor", "Amazon EC2")
    machine.write("sys/class/dmi/id/product_name", "p5.48xlarge")
    machine.write("sys/class/dmi/id/product_serial", "ec2-secret")
    reading = read_dmi(machine.tree)
    assert signal(reading, "dmi.vendor").value == "Amazon EC2"
    assert signal(reading, "dmi.product").value == "p5.48xlarge"
    assert reading.measurements["OS.dmi"] == {"sys_vendor": "Amazon EC2", "product_name": "p5.48xlarge"}


def test_no_dmi_is_absent(machine: Machine) -> None:
    with pytest.raises(SourceAbsentError) as caught:
        read_dmi(machine.tree)
    assert caught.value.reason is UnknownReason.NOT_APPLICABLE


# --- GPU modules -----------------------------------------------------------------------------------------------------

NVRM = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC version: gcc 13.3.0"


def test_nvidia_module_by_proc_alone(machine: Machine) -> None:
    machine.write("proc/driver/nvidia/version", NVRM)
    machine.write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1")
    machine.write("proc/driver/nvidia/gpus/0000:02:00.0/information", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 2")
    reading = read_nvidia_module(machine.tree)
    assert signal(reading, "nvidia.module").value == "570.86.15"
    assert signal(reading, "nvidia.proc-model").raw == "NVIDIA H100 80GB HBM3"


def test_nvidia_module_that_names_no_version_is_a_failure(machine: Machine) -> None:
    machine.write("proc/driver/nvidia/version", "NVRM version: private build")
    with pytest.raises(SourceFailedError):
        read_nvidia_module(machine.tree)


def test_no_nvidia_module_is_no_driver(machine: Machine) -> None:
    with pytest.raises(SourceAbsentError) as caught:
        read_nvidia_module(machine.tree)
    assert caught.value.reason is UnknownReason.NO_DRIVER


@pytest.mark.parametrize(("version", "value"), [("6.12.12", "6.12.12"), ("", "inbox")])
def test_amdgpu_module_with_and_without_version(machine: Machine, version: str, value: str) -> None:
    machine.write("sys/module/amdgpu/srcversion", "ABCDEF")
    if version:
        machine.write("sys/module/amdgpu/version", version)
    assert signal(read_amdgpu_module(machine.tree), "amdgpu.module").value == value


def test_no_amdgpu_module_is_no_driver(machine: Machine) -> None:
    with pytest.raises(SourceAbsentError):
        read_amdgpu_module(machine.tree)


# --- KFD -------------------------------------------------------------------------------------------------------------

NODES = "sys/class/kfd/kfd/topology/nodes"


def kfd_node(machine: Machine, number: int, properties: dict[str, int], memory: int = 0) -> None:
    machine.write(f"{NODES}/{number}/properties", "\n".join(f"{name} {value}" for name, value in properties.items()))
    if memory:
        machine.write(f"{NODES}/{number}/mem_banks/0/properties", f"heap_type 1\nsize_in_bytes {memory}")


MI300X = {"simd_count": 304, "vendor_id": 4098, "device_id": 0x74A1, "gfx_target_version": 90402, "hive_id": 7}


def test_partitions_of_a_board_are_counted_as_one_board(machine: Machine) -> None:
    kfd_node(machine, 0, {"cpu_cores_count": 96, "simd_count": 0})
    for number in range(16):
        kfd_node(machine, number + 1, MI300X | {"unique_id": 100 + number // 8}, memory=1 << 30)
    reading = read_kfd(machine.tree)
    found = signal(reading, "kfd.device")
    assert (found.raw, found.value) == ("1002:74a1 x16", "2")
    assert signal(reading, "kfd.hive").value == "1"
    assert reading.measurements["GPU.kfd"] == {
        "node-count": 16,
        "board-count": 2,
        "gfx_target_version": 90402,
        "simd_count": 304,
        "memory-bytes": 1 << 30,
    }


def test_boards_without_unique_id_count_one_by_one(machine: Machine) -> None:
    for number in range(3):
        kfd_node(machine, number, MI300X)
    assert signal(read_kfd(machine.tree), "kfd.device").value == "3"


def test_identifiers_of_boards_do_not_leave(machine: Machine) -> None:
    kfd_node(machine, 0, MI300X | {"unique_id": 598046273873802902, "hive_id": 2095653680343411291})
    text = repr(read_kfd(machine.tree))
    assert "598046273873802902" not in text
    assert "2095653680343411291" not in text


def test_unlike_boards_are_listed_with_their_counts(machine: Machine) -> None:
    kfd_node(machine, 0, MI300X)
    kfd_node(machine, 1, MI300X | {"device_id": 0x75A0, "gfx_target_version": 90500})
    reading = read_kfd(machine.tree)
    assert signal(reading, "kfd.device").raw == "1002:74a1 x1, 1002:75a0 x1"
    assert reading.measurements["GPU.kfd"]["gfx_target_version"] == "90402 x1, 90500 x1"


def test_a_kfd_without_gpus_is_absent(machine: Machine) -> None:
    kfd_node(machine, 0, {"simd_count": 0})
    with pytest.raises(SourceAbsentError):
        read_kfd(machine.tree)


def test_nodes_that_may_not_be_read_are_a_matter_of_permission(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kfd_node(machine, 0, MI300X)
    kfd_node(machine, 1, MI300X)
    whole = HostTree.text

    def text(self: HostTree, name: str, **options: int) -> str:
        if name == f"{NODES}/1/properties":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return whole(self, name, **options)

    monkeypatch.setattr(HostTree, "text", text)
    with pytest.raises(SourceFailedError) as caught:
        read_kfd(machine.tree)
    assert caught.value.reason is UnknownReason.PERMISSION
    assert signal(caught.value.partial, "kfd.device").raw == "1002:74a1 x1"


def test_real_topology_of_mi308x(machine: Machine, test_data: Path) -> None:
    folder = test_data / "gpu/kfd-topology-parsing-mi308"
    for file in sorted(folder.glob("node*.properties")):
        node, _, rest = file.name.removeprefix("node").partition(".")
        place = "mem_banks/0/properties" if rest.startswith("mem_bank") else "properties"
        machine.write(f"{NODES}/{node}/{place}", file.read_text())
    reading = read_kfd(machine.tree)
    assert signal(reading, "kfd.device").raw.startswith("1002:74a2 x")
    assert reading.measurements["GPU.kfd"]["gfx_target_version"] == 90402


def test_properties_that_are_no_numbers_are_left_out() -> None:
    assert parse_properties("simd_count 80\nname gfx942\nbroken\n") == {"simd_count": 80}


# --- markers ---------------------------------------------------------------------------------------------------------


def test_signs_of_simulation_are_named(machine: Machine) -> None:
    machine.write("etc/ld.so.preload", "/usr/lib/libpci-mock.so")
    (machine.root / "var/lib/nvml-mock").mkdir(parents=True)
    environ = {"LD_PRELOAD": "/x.so", "MOCK_NVML_CONFIG": "h100", "PATH": "/bin"}
    assert read_markers(machine.tree, environ).markers == (
        "M3: variable MOCK_NVML_CONFIG is set",
        "M3: /var/lib/nvml-mock exists",
        "M6: LD_PRELOAD is set",
        "M6: /etc/ld.so.preload is not empty",
    )


def test_a_plain_node_has_no_markers(machine: Machine) -> None:
    assert read_markers(machine.tree, {"PATH": "/bin"}).markers == ()


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_over_the_limit_is_refused(machine: Machine) -> None:
    machine.write("big", "x" * 100)
    with pytest.raises(OSError, match="more than 10 bytes"):
        machine.tree.text("big", limit=10)


def test_a_folder_over_the_limit_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        machine.write(f"many/{number}", "")
    assert machine.tree.names("many") == ["0", "1", "2"]
    monkeypatch.setattr(limits, "HOST_ENTRIES_MAX", 2)
    with pytest.raises(OSError, match="more than 2 entries") as caught:
        machine.tree.names("many")
    assert caught.value.errno == errno.EFBIG


def test_bytes_that_are_no_text_do_not_stop_a_read(machine: Machine) -> None:
    (machine.root / "odd").write_bytes(b"a\xff\0b\n")
    assert machine.tree.text("odd") == "a\ufffd b"
