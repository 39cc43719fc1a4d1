# SPDX-License-Identifier: Apache-2.0
"""Limits of the kernel that several clusters on one machine exhaust together: what is set, in use, and needed.

Both count per user, and all programs of all clusters are root's. Beyond them programs end with `too many open files`,
or `no space left on device`, which says nothing of the kind.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evidencelocal import processes
from evidencelocal.settings import Settings

_PROC = Path("/proc")
_HANDLE = "anon_inode:inotify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit: its sysctl, what it is set to, what others use of it, and what a cluster of `nodes` nodes needs."""

    name: str
    found: int
    used: int
    needed: int
    nodes: int

    @property
    def enough(self) -> bool:
        return self.found - self.used >= self.needed

    @property
    def line(self) -> str:
        return f"{self.name} = {self.found}: {self.used} in use by others, {self.nodes} nodes need {self.needed}"

    @property
    def warning(self) -> str:
        wanted = self.used + 2 * self.needed
        return (
            f"warning: {self.name} is {self.found}, expected at least {self.used + self.needed} ({self.used} in use by "
            f"others, {self.needed} for {self.nodes} nodes); programs may end with `too many open files`\n"
            f"          fix: sysctl -w {self.name}={wanted}; to keep it: the same line in /etc/sysctl.d/"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a cluster takes: `base` for the control plane, `node` for each node.

    Counted were 12 and 8 instances, one more for each log that is followed; and 22 and 145 watches, some 40 more for
    each pod on cgroup v1.
    """

    name: str
    base: int
    node: int


NEEDS = (
    Need(name="fs.inotify.max_user_instances", base=16, node=12),
    Need(name="fs.inotify.max_user_watches", base=100, node=1000),
)


def _others(settings: Settings) -> Iterator[Path]:
    """Directories below /proc of this user's processes that are not this cluster's."""
    ours = {process.pid for process in processes.ours(settings)}
    for entry in _PROC.iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int(entry.name) not in ours and entry.stat().st_uid == os.geteuid():
                yield entry


def _watches(entry: Path, handle: str) -> int:
    lines = (entry / "fdinfo" / handle).read_text(encoding="ascii", errors="replace").splitlines()
    return sum(line.startswith("inotify ") for line in lines)


def in_use(settings: Settings) -> tuple[int, int]:
    """(instances, watches) of inotify that this user's other processes hold."""
    instances = watches = 0
    for entry in _others(settings):
        with contextlib.suppress(OSError):
            for handle in (entry / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(handle.readlink()) == _HANDLE:
                        instances += 1
                        watches += _watches(entry, handle.name)
    return instances, watches


def look(settings: Settings, nodes: int) -> list[Limit]:
    """Both limits, for a cluster of so many nodes beside what runs already."""
    found = []
    for need, used in zip(NEEDS, in_use(settings), strict=True):
        text = (_PROC / "sys" / need.name.replace(".", "/")).read_text(encoding="ascii")
        needed = need.base + nodes * need.node
        found.append(Limit(name=need.name, found=int(text), used=used, needed=needed, nodes=nodes))
    return found
