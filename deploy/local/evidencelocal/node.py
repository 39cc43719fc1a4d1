# SPDX-License-Identifier: Apache-2.0
"""Nodes: each a set of namespaces with its own containerd, kubelet and kube-proxy, and a power switch."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from evidencelocal import hostnet, node_config, pki, processes
from evidencelocal.settings import LOCAL, MAX_NODES, ClusterError, Settings
from evidencelocal.shell import Command, run

_CGROUPS = Path("/sys/fs/cgroup")


def existing(settings: Settings) -> list[int]:
    """Numbers of the nodes that have a directory, running or not."""
    return [number for number in range(1, MAX_NODES + 1) if settings.node_dir(number).is_dir()]


def running(settings: Settings, number: int) -> bool:
    """Whether the first process of a node runs."""
    return processes.find(settings, settings.node_name(number)) is not None


def log_files(settings: Settings, number: int) -> list[Path]:
    """The logs that say why a node does not become Ready."""
    home = settings.node_dir(number)
    return [processes.log_of(settings, settings.node_name(number)), home / "containerd.log", home / "kubelet.log"]


def start(settings: Settings, number: int, programs: Path, pause: Path) -> bool:
    """Switch a node on unless it runs; `pause` is the folder of the pause image. True when it was started."""
    if running(settings, number):
        return False
    name = settings.node_name(number)
    _remove_cgroups(settings, number)
    pki.ensure_node(settings, number)
    node_config.write_all(settings, number)
    hostnet.add_node(settings, number)
    settings.images.mkdir(parents=True, exist_ok=True)
    variables = {
        "NODE": name,
        "NODE_DIR": settings.node_dir(number),
        "NODE_ADDRESS": settings.node_address(number),
        "NODE_CGROUP": settings.cgroup(number),
        "PROGRAMS": programs,
        "KUBECONFIG_FILE": settings.pki / f"{name}.kubeconfig",
        "FOLDERS": " ".join(hostnet.folders()),
        "IMAGE_FOLDERS": f"{pause} {settings.images}",
    }
    namespaces = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    # `ip netns exec` would mount /sys anew and hide the cgroup mounts; nsenter does not.
    enter = ["nsenter", f"--net=/run/netns/{settings.netns(number)}", "unshare", *namespaces]
    values = [f"{key}={value}" for key, value in variables.items()]
    return processes.start(settings, name, [*enter, "env", *values, LOCAL / "node-init.sh"])


def kill(settings: Settings, number: int) -> bool:
    """Cut a node's power: nothing in it gets a chance to say goodbye. True when it was running."""
    inside = _members(settings, number)
    was_running = processes.stop(settings, settings.node_name(number))
    processes.await_end(inside)
    return was_running


def remove(settings: Settings, number: int) -> None:
    """Cut a node's power and take its network and cgroups away."""
    kill(settings, number)
    hostnet.remove_node(settings, number)
    _remove_cgroups(settings, number)


def inside(settings: Settings, number: int, command: Command, *, timeout: float = 300) -> str:
    """Run a command in all namespaces of a running node and return its output."""
    process = processes.find(settings, settings.node_name(number))
    if process is None:
        raise ClusterError(f"{settings.node_name(number)} is not running; fix: cluster start-node {number}")
    pid = str(process.pid)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    if not children:
        raise ClusterError(f"{settings.node_name(number)} has no first process yet; try again")
    enter = ["nsenter", "-t", children[0], "--mount", "--uts", "--ipc", "--net", "--pid"]
    return run([*enter, *command], timeout=timeout)


def _cgroup_folders(settings: Settings, number: int) -> list[Path]:
    name = settings.cgroup(number)
    candidates = [_CGROUPS / name, *(controller / name for controller in _CGROUPS.iterdir())]
    return [folder for folder in candidates if folder.is_dir()]


def _members(settings: Settings, number: int) -> list[processes.Process]:
    """Processes in the node's cgroups: its containers, which do not carry the cluster's marker."""
    found: dict[int, processes.Process] = {}
    for folder in _cgroup_folders(settings, number):
        for listing in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                for text in listing.read_text(encoding="ascii").split():
                    process = processes.identify(int(text))
                    if process:
                        found[process.pid] = process
    return list(found.values())


def _remove_cgroups(settings: Settings, number: int, timeout: float = 10) -> None:
    """Remove the node's cgroups, children first; the kernel refuses while the last process is still leaving."""
    deadline = time.monotonic() + timeout
    while folders := _cgroup_folders(settings, number):
        for folder in folders:
            for path, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()
        if time.monotonic() > deadline:
            raise ClusterError(f"cgroups of {settings.node_name(number)} cannot be removed: {folders}")
        time.sleep(0.05)
