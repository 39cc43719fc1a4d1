# SPDX-License-Identifier: Apache-2.0
"""Files that are there completely or not at all, and that a power cut does not take back.

A file is written under a temporary name, flushed, renamed, and its folder is flushed; a folder of several files is
built beside its place and renamed as a whole. What a kill leaves behind are names beginning with `TEMPORARY`, which
`sweep` removes at start.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from evidencerun.errors import StoreError

TEMPORARY: Final = ".new-"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class VolumeFullError(StoreError):
    """The volume has no room; nothing was stored and nothing was acknowledged."""


def put(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` to `path` atomically and durably, replacing what is there.

    Raises `VolumeFullError` E4507 or `StoreError` E4500; `path` then holds what it held before.
    """
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        make_folder(path.parent)
        write_flushed(temporary, [data], mode)
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as fault:
        temporary.unlink(missing_ok=True)
        raise refused(fault, path) from fault


def put_folder(path: Path, files: Mapping[str, bytes]) -> bool:
    """Write a folder of plain files as a whole; False if it is there already, which is then left as it is.

    Raises `VolumeFullError` E4507 or `StoreError` E4500; then there is no folder.
    """
    return write_folder(path, ((name, [data]) for name, data in files.items()))


def write_folder(path: Path, files: Iterable[tuple[str, Iterable[bytes]]]) -> bool:
    """Write a folder of files that are too large for the memory, as `put_folder` does.

    `files` are names and contents, each content in pieces; both are asked for one at a time and are not kept. What
    asking for them raises goes through; then there is no folder either.
    """
    if path.exists():
        return False
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        make_folder(path.parent)
        temporary.mkdir(mode=0o700)
        for name, pieces in files:
            write_flushed(temporary / name, pieces)
        flush_folder(temporary)
        temporary.rename(path)
        flush_folder(path.parent)
    except OSError as fault:
        raise refused(fault, path) from fault
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def make_folder(path: Path) -> None:
    """Make a folder, with its parents, durably."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True, mode=0o700)
            flush_folder(folder.parent)
    except OSError as fault:
        raise refused(fault, path) from fault


def remove_folder(path: Path) -> None:
    """Remove a folder so that no half of it is ever taken for a whole: rename first, then delete."""
    if not path.exists():
        return
    doomed = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    path.rename(doomed)
    flush_folder(path.parent)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(root: Path) -> int:
    """Remove what a kill left unfinished below `root`; return how many names were removed."""
    removed = 0
    for folder, names, files in os.walk(root):
        for name in [n for n in names if n.startswith(TEMPORARY)]:
            shutil.rmtree(Path(folder) / name, ignore_errors=True)
            names.remove(name)
            removed += 1
        for name in files:
            if name.startswith(TEMPORARY):
                (Path(folder) / name).unlink(missing_ok=True)
                removed += 1
    return removed


def flush_folder(path: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refused(fault: OSError, path: Path) -> StoreError:
    """Return the error for a failed write: a full volume is told apart from a broken one."""
    where = path.name
    if fault.errno in _FULL:
        fix = "enlarge the store's volume, or shorten spec.retention of the policies"
        return VolumeFullError("E4507", "the store's volume is full", where=where, why=fault.strerror or "", fix=fix)
    return StoreError("E4500", "the store's volume cannot be written", where=where, why=str(fault.strerror or fault))


def write_flushed(path: Path, pieces: Iterable[bytes], mode: int = 0o600) -> None:
    """Write a new file and flush its content, not its name; raises `OSError`."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
