# SPDX-License-Identifier: Apache-2.0
"""Reads a bundle from the file system: a tar.gz, or a directory. Nothing is extracted, no link is followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive
from evidencerun.errors import EvidenceError, InputError


def read_input(path: Path, *, what: str, max_bytes: int) -> bytes:
    """Return a file that the user named.

    Raises:
        InputError: E2091, it cannot be read or is too large.

    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as fault:
        raise InputError(
            "E2091", f"{what} cannot be read", where=str(path), why=fault.strerror or "", fix="check the path"
        ) from fault
    if len(data) > max_bytes:
        raise InputError("E2091", f"{what} is too large", where=str(path), why=f"at most {max_bytes} bytes are read")
    return data


def read_bundle(path: Path) -> dict[str, bytes]:
    """Return the files of a bundle by path.

    A directory may be the bundle, or hold it as its one folder `bundle` or `summary-bundle`.

    Raises:
        InputError: E2091, there is no such file or directory.
        EvidenceError: E2001, it is no archive of plain files, too large, or holds links or special files.

    """
    try:
        return _read_bundle(path)
    except OSError as fault:
        raise InputError(
            "E2091", "the bundle cannot be read", where=str(path), why=fault.strerror or "", fix="check the path"
        ) from fault


def _read_bundle(path: Path) -> dict[str, bytes]:
    if not path.exists():
        raise InputError(
            "E2091",
            "the bundle cannot be read",
            where=str(path),
            why="there is no such file or directory",
            fix="check the path",
        )
    if not path.is_dir():
        return read_archive(read_input(path, what="the bundle", max_bytes=limits.BUNDLE_ARCHIVE_MAX))
    for inner in ("", "summary-bundle", "bundle"):
        if (path / inner / layout.MANIFEST).is_file():
            return _read_directory(path / inner)
    raise InputError(
        "E2091",
        "this directory holds no bundle",
        where=str(path),
        why=f"there is no {layout.MANIFEST} in it",
        fix="name the bundle.tar.gz, or the folder that it was unpacked into",
    )


def _read_directory(root: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = limits.BUNDLE_MAX
    for folder, names, members in os.walk(root, followlinks=False):
        # No file so deep could be listed; and os.walk calls itself once for each level.
        if len(Path(folder).relative_to(root).as_posix()) > limits.BUNDLE_PATH_MAX:
            raise EvidenceError("E2001", "the bundle holds a path that is too long", where=str(root))
        for name in [*names, *members]:
            full = Path(folder, name)
            mode = full.lstat().st_mode
            relative = full.relative_to(root).as_posix()
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise EvidenceError("E2001", "the bundle holds something that is no plain file", where=ascii(relative))
            if len(files) >= limits.BUNDLE_FILES_MAX:
                raise EvidenceError("E2001", "the bundle holds too many files", where=str(root))
            files[relative] = _read_plain(full, min(left, limits.BUNDLE_FILE_MAX))
            left -= len(files[relative])
    return files


def _read_plain(path: Path, at_most: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(at_most + 1)
    if len(data) > at_most:
        raise EvidenceError("E2001", "the bundle is too large", where=str(path))
    return data
