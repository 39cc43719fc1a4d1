# SPDX-License-Identifier: Apache-2.0
"""Kernel and operating system of the host: release, boot id, modules, command line, os-release."""

from __future__ import annotations

import re
import shlex
from typing import Final

from evidencerun import limits
from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Reading, SourceAbsentError, SourceFailedError, kernel_signal
from evidencerun.snapshot.report import Dimension, Scalar, UnknownReason

_OS_RELEASE: Final = "host/etc/os-release"
"""The host's file, mounted; the image's own os-release says nothing about the node."""
_ASSIGNMENT: Final = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


def read_kernel(tree: HostTree, machine: str) -> Reading:
    """Return release, machine (`uname -m`) and boot id; nodes with one boot id are one machine."""
    release = tree.text("proc/sys/kernel/osrelease")
    boot_id = tree.text("proc/sys/kernel/random/boot_id")
    signals = (
        (Dimension.KERNEL, kernel_signal("kernel.release", release, release)),
        (Dimension.KERNEL, kernel_signal("kernel.machine", machine, machine)),
        (Dimension.KERNEL, kernel_signal("kernel.boot-id", boot_id)),
    )
    return Reading(signals=signals, boot_id=boot_id)


def read_os_release(tree: HostTree) -> Reading:
    """Return measurement OS.release with the file's own keys, and the signal `host.os-release`."""
    fields = parse_os_release(tree.text(_OS_RELEASE))
    name = str(fields.get("ID", ""))
    if not name:
        raise SourceFailedError(UnknownReason.UNREADABLE, f"/{_OS_RELEASE} has no ID")
    raw = f"{name} {fields.get('VERSION_ID', '')}".strip()
    signal = kernel_signal("host.os-release", raw, name.lower())
    return Reading(signals=((Dimension.OS, signal),), measurements={"OS.release": fields})


def parse_os_release(text: str) -> dict[str, Scalar]:
    """Return the assignments of os-release(5), unquoted; lines that are none are left out."""
    fields: dict[str, Scalar] = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is None:
            continue
        try:
            words = shlex.split(match[2])
        except ValueError:
            continue
        fields[match[1]] = " ".join(words)
    return fields


def read_modules(tree: HostTree) -> Reading:
    """Return measurement OS.kmod: each loaded module with `true`. Absent on kernels built without modules."""
    if not tree.exists("proc/modules"):
        raise SourceAbsentError(UnknownReason.NOT_APPLICABLE, "the kernel has no loadable modules")
    names = [line.split(maxsplit=1)[0] for line in tree.text("proc/modules").splitlines() if line.strip()]
    return Reading(measurements={"OS.kmod": dict.fromkeys(sorted(names), True)})


def read_command_line(tree: HostTree) -> Reading:
    """Return measurement OS.grub: the kernel's parameters but `root`, which names a disk of this one machine."""
    return Reading(measurements={"OS.grub": parse_command_line(tree.text("proc/cmdline"))})


def parse_command_line(text: str) -> dict[str, Scalar]:
    """Return parameters by name; a parameter without a value has an empty one, the last of several wins."""
    fields: dict[str, Scalar] = {}
    for word in _words(text):
        name, _, value = word.partition("=")
        if name and name != "root" and len(value) <= limits.REPORT_VALUE_MAX:
            fields[name] = value.strip('"')
    return fields


def _words(text: str) -> list[str]:
    """Split at white space outside double quotes, as the kernel does."""
    return re.findall(r'(?:[^\s"]|"[^"]*"?)+', text)
