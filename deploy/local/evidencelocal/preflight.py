# SPDX-License-Identifier: Apache-2.0
"""What the machine must have: said exactly, with the one command that brings it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from evidencelocal.settings import ClusterError
from evidencelocal.shell import run, say

_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "etcd": "etcd-server",
    "docker-registry": "docker-registry",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "ip": "iproute2",
    "jq": "jq",
    "htpasswd": "apache2-utils",
    "socat": "socat",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
_CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is missing: Debian packages, and other faults as sentences."""

    packages: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not (self.packages or self.faults)

    @property
    def install_command(self) -> list[str]:
        return ["apt-get", "install", "-y", "--no-install-recommends", *self.packages]


def _missing_packages() -> tuple[str, ...]:
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    if not all(Path("/usr/lib/cni", plugin).exists() for plugin in _CNI_PLUGINS):
        missing.add("containernetworking-plugins")
    return tuple(sorted(missing))


def _controllers() -> set[str]:
    unified = _CGROUPS / "cgroup.controllers"
    if unified.exists():
        return set(unified.read_text(encoding="ascii").split())
    return {path.name for path in _CGROUPS.iterdir()}


def _faults() -> tuple[str, ...]:
    found = []
    if os.geteuid() != 0:
        found.append("not root: namespaces, mounts and routes need root; fix: run it with sudo")
    lacking = [name for name in _CONTROLLERS if name not in _controllers()]
    if lacking:
        found.append(f"the kernel offers no cgroup controller {', '.join(lacking)} below {_CGROUPS}")
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        found.append("the kernel has no overlay file system; fix: modprobe overlay")
    return tuple(found)


def look() -> Findings:
    """Look at the machine; changes nothing."""
    return Findings(packages=_missing_packages(), faults=_faults())


def install(findings: Findings) -> None:
    """Install the missing packages, without letting their services start."""
    say(f"installing {' '.join(findings.packages)}")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        policy.chmod(0o755)
    try:
        run(["apt-get", "-q", "update"], timeout=600)
        run(findings.install_command, timeout=900)
    finally:
        if ours:
            policy.unlink()


def explain(findings: Findings) -> str:
    """The findings as text, with the command that mends them."""
    lines = [f"  - {fault}" for fault in findings.faults]
    if findings.packages:
        lines.append(f"  - missing packages: {' '.join(findings.packages)}")
        lines.append(f"    fix: apt-get update && {' '.join(findings.install_command)}")
    return "\n".join(lines)


def require(*, may_install: bool) -> None:
    """Return if the machine has everything; install what is missing if that is allowed; ClusterError otherwise."""
    findings = look()
    allowed = may_install or os.environ.get("CI") == "true"
    if findings.packages and not findings.faults and allowed:
        install(findings)
        findings = look()
    if not findings.good:
        raise ClusterError(f"this machine cannot run the cluster yet:\n{explain(findings)}")
