# SPDX-License-Identifier: Apache-2.0
"""Settings under /proc/sys, as in AICR's subtype OS.sysctl, but only those that are the node's own.

AICR leaves out `net` and `dev/cdrom`. We leave out, beside these, what the kernel keeps per namespace: a pod sees its
own pod's values there, and they say nothing about the node. Random and counting files are no settings.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

from evidencerun import limits
from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Reading, SourceFailedError
from evidencerun.snapshot.report import Scalar, UnknownReason

_ROOT: Final = "proc/sys"
_NOT_SETTINGS: Final = ("net", "dev/cdrom", "kernel/random", "fs/binfmt_misc")
_COUNTERS: Final = (
    "fs/dentry-state",
    "fs/file-nr",
    "fs/inode-nr",
    "fs/inode-state",
    "fs/aio-nr",
    "fs/quota",
    "kernel/pty/nr",
    "kernel/ns_last_pid",
    "vm/stat_refresh",
)
_PER_NAMESPACE: Final = (
    "kernel/hostname",
    "kernel/domainname",
    "kernel/shm",
    "kernel/msg",
    "kernel/sem",
    "kernel/auto_msgmni",
    "fs/mqueue",
    "user",
)
"""UTS, IPC and user namespaces; `kernel/shm` stands for shmmax, shmall, shmmni and shm_*, the others alike."""


def read_sysctl(tree: HostTree) -> Reading:
    """Return measurement OS.sysctl: full path to text; a file of `name value` lines becomes one key per name."""
    settings: dict[str, Scalar] = {}
    for name in _files(tree, _ROOT, 0):
        try:
            text = tree.text(name)
        except OSError:
            continue
        settings.update(_settings(f"/{name}", text))
        if len(settings) >= limits.SYSCTL_MAX:
            break
    if not settings:
        raise SourceFailedError(UnknownReason.UNREADABLE, f"nothing under /{_ROOT} can be read")
    return Reading(measurements={"OS.sysctl": settings})


def _settings(path: str, text: str) -> dict[str, str]:
    lines = text.splitlines()
    pairs = [line.split(None, 1) for line in lines]
    if len(lines) > 1 and all(len(pair) == 2 for pair in pairs):
        found = {f"{path}/{name}": value.strip() for name, value in pairs}
    else:
        found = {path: text.strip()}
    return {key: value for key, value in found.items() if len(value) <= limits.REPORT_VALUE_MAX}


def _files(tree: HostTree, folder: str, depth: int) -> Iterator[str]:
    """Yield files below `folder` on the same file system: a mount there is not part of /proc/sys."""
    try:
        entries = tree.names(folder)
        device = os.lstat(tree.path(folder)).st_dev
    except OSError:
        return
    for entry in entries:
        name = f"{folder}/{entry}"
        if _left_out(name):
            continue
        try:
            status = os.lstat(tree.path(name))
        except OSError:
            continue
        if status.st_dev != device:
            continue
        if stat.S_ISDIR(status.st_mode) and depth < limits.SYSCTL_DEPTH_MAX:
            yield from _files(tree, name, depth + 1)
        elif stat.S_ISREG(status.st_mode):
            yield name


def _left_out(name: str) -> bool:
    setting = name.removeprefix(f"{_ROOT}/")
    if setting.startswith(_PER_NAMESPACE):
        return True
    return any(setting == stem or setting.startswith(f"{stem}/") for stem in _NOT_SETTINGS + _COUNTERS)
