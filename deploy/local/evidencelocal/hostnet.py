# SPDX-License-Identifier: Apache-2.0
"""The host's side of the cluster: bridge, routes, forwarding, kernel settings; all of it taken back by `remove`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from evidencelocal import processes
from evidencelocal.settings import MAX_NODES, Settings
from evidencelocal.shell import run, succeeds, write

_SYSCTLS = (
    # what kubelet sets for the whole machine
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
    # what this module sets
    "net.ipv4.ip_forward",
)
_FOLDERS = (
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/var/lib/evidencerun",
)
"""Mount points of the nodes. They are made on the host, for the nodes share its root file system."""

_NETNS = Path("/run/netns")
_SIDE_EFFECTS = (str(_NETNS), "/run/mount")
"""Directories that ip(8) and mount(8) make when they are first used."""


def _sysctl_file(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def boot_id() -> str:
    """The kernel's identity of this boot: state of an earlier one is void."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def folders() -> tuple[str, ...]:
    """Directories that every node overlays with its own."""
    return _FOLDERS


def _before_file(settings: Settings) -> Path:
    return settings.state / "before.json"


def remember(settings: Settings) -> None:
    """Save the kernel settings and the missing mount points as found, once per boot and cluster."""
    path = _before_file(settings)
    if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["boot"] == boot_id():
        return
    values = {
        name: _sysctl_file(name).read_text(encoding="ascii").strip() for name in _SYSCTLS if _sysctl_file(name).exists()
    }
    wanted = map(Path, (*_FOLDERS, *_SIDE_EFFECTS))
    missing = [str(part) for folder in wanted for part in (folder, *folder.parents) if not part.exists()]
    found = {"boot": boot_id(), "since": time.time(), "sysctl": values, "made": sorted(set(missing), reverse=True)}
    write(path, json.dumps(found, indent=1))


def _is_mounted(path: Path) -> bool:
    """Whether `path` is a mount point, bind mounts of the same file system included."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return any(line.split()[4] == str(path) for line in lines)


def _hand_on(found: dict[str, Any], heir: Path) -> None:
    """Leave the putting back to a cluster that still runs, and to which it would do harm.

    Its nodes lose what they mount over a directory when that is removed here, and their network without forwarding.
    """
    known = json.loads(heir.read_text(encoding="utf-8")) if heir.is_file() else found
    if known["boot"] != found["boot"]:
        return
    # The later one found what the earlier one had set already.
    first, second = sorted((known, found), key=lambda one: float(one.get("since", 0)))
    made = sorted({*first["made"], *second["made"]}, reverse=True)
    write(heir, json.dumps({**first, "sysctl": {**second["sysctl"], **first["sysctl"]}, "made": made}, indent=1))


def _put_back(settings: Settings) -> None:
    path = _before_file(settings)
    if not path.is_file():
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    others = processes.marked_states() - {settings.state}
    if others:
        _hand_on(found, _before_file(replace(settings, state=min(others))))
        return
    if found["boot"] == boot_id():
        for name, value in found["sysctl"].items():
            if _sysctl_file(name).read_text(encoding="ascii").strip() != value:
                _sysctl_file(name).write_text(value, encoding="ascii")
    if str(_NETNS) in found["made"] and _is_mounted(_NETNS) and not any(_NETNS.iterdir()):
        run(["umount", _NETNS])
    for folder in found["made"]:
        if Path(folder).is_dir() and not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def _forward_rule(settings: Settings) -> list[str]:
    comment = ["-m", "comment", "--comment", settings.context]
    return ["FORWARD", "-i", settings.bridge, *comment, "-j", "ACCEPT"]


def _forwarding_is_filtered() -> bool:
    """Whether anything but a plain ACCEPT policy stands in FORWARD (a Docker daemon sets DROP)."""
    return run(["iptables", "-w", "-S", "FORWARD"]).split() != ["-P", "FORWARD", "ACCEPT"]


def ensure(settings: Settings) -> None:
    """Bridge, address, forwarding; an accept rule only where something filters forwarded packets."""
    if not Path("/sys/class/net", settings.bridge).exists():
        run(["ip", "link", "add", settings.bridge, "type", "bridge"])
    run(["ip", "address", "replace", f"{settings.host}/24", "dev", settings.bridge])
    run(["ip", "link", "set", settings.bridge, "up"])
    _sysctl_file("net.ipv4.ip_forward").write_text("1", encoding="ascii")
    for folder in _FOLDERS:
        Path(folder).mkdir(parents=True, exist_ok=True)
    rule = _forward_rule(settings)
    if _forwarding_is_filtered() and not succeeds(["iptables", "-w", "-C", *rule]):
        run(["iptables", "-w", "-I", *rule])


def netns_exists(settings: Settings, number: int) -> bool:
    """Whether the network namespace of a node exists."""
    return (_NETNS / settings.netns(number)).exists()


def add_node(settings: Settings, number: int) -> None:
    """A fresh network namespace for a node: one link to the bridge, routes to the other nodes' pods."""
    remove_node(settings, number)
    netns, veth = settings.netns(number), settings.veth(number)
    run(["ip", "netns", "add", netns])
    run(["ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", netns])
    run(["ip", "link", "set", veth, "master", settings.bridge, "up"])
    inside = ["ip", "-n", netns]
    run([*inside, "address", "add", f"{settings.node_address(number)}/24", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "up"])
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "route", "add", "default", "via", settings.host])
    routes = [
        f"route add {settings.pod_cidr(other)} via {settings.node_address(other)}\n"
        for other in range(1, MAX_NODES + 1)
        if other != number
    ]
    run([*inside, "-batch", "-"], stdin="".join(routes))
    via = settings.node_address(number)
    run(["ip", "route", "replace", settings.pod_cidr(number), "via", via, "dev", settings.bridge])


def remove_node(settings: Settings, number: int) -> None:
    """Take a node's network namespace, link and route away, as far as they exist."""
    if Path("/sys/class/net", settings.veth(number)).exists():
        run(["ip", "link", "delete", settings.veth(number)])
    if netns_exists(settings, number):
        run(["ip", "netns", "delete", settings.netns(number)])
    if Path("/sys/class/net", settings.bridge).exists():
        succeeds(["ip", "route", "delete", settings.pod_cidr(number), "dev", settings.bridge])


def remove(settings: Settings) -> None:
    """Take everything back: namespaces, links, routes, rules, kernel settings, mount points."""
    for number in range(1, MAX_NODES + 1):
        remove_node(settings, number)
    if Path("/sys/class/net", settings.bridge).exists():
        run(["ip", "link", "delete", settings.bridge])
    if settings.context in run(["iptables", "-w", "-S"]):
        while succeeds(["iptables", "-w", "-D", *_forward_rule(settings)]):
            pass
    _put_back(settings)
