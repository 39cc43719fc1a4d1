# SPDX-License-Identifier: Apache-2.0
"""Looks at /results, which a check may fill with anything, and reads what may leave the pod.

Only regular files directly in the folder, with plain names and within the limits. Links are never followed: a check
could point one at the sidecar's token.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evidencerun import limits

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """A file that may be uploaded. `stamp` changes whenever the file does."""

    name: str
    stamp: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An entry that stays behind, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What is in the folder at one moment."""

    files: tuple[ResultFile, ...]
    left_out: tuple[LeftOut, ...]


def scan(folder: Path) -> Scan:
    """Return the files to upload and what is left out, both sorted by name. A folder that is gone holds nothing."""
    files: list[ResultFile] = []
    left_out: list[LeftOut] = []
    for number, entry in enumerate(_first_entries(folder, limits.RESULT_ENTRIES_MAX + 1)):
        if number == limits.RESULT_ENTRIES_MAX:
            left_out.append(LeftOut(name="...", reason=f"more than {limits.RESULT_ENTRIES_MAX} entries"))
            break
        verdict = _judge(entry)
        if isinstance(verdict, ResultFile) and len(files) >= limits.RESULT_FILES_MAX:
            verdict = LeftOut(name=entry.name, reason=f"more than {limits.RESULT_FILES_MAX} files")
        if isinstance(verdict, ResultFile):
            files.append(verdict)
        else:
            left_out.append(verdict)
    return Scan(files=tuple(files), left_out=tuple(left_out))


def read_result(folder: Path, name: str) -> bytes | LeftOut:
    """Return the bytes of a regular file, or why it cannot leave; what the name points at is checked once more."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / name, flags)
    except OSError as fault:
        return LeftOut(name=name, reason=f"cannot be read: {fault.strerror}")
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return LeftOut(name=name, reason="not a regular file")
        data = file.read(limits.RESULT_FILE_MAX + 1)
    if len(data) > limits.RESULT_FILE_MAX:
        return LeftOut(name=name, reason=f"larger than {limits.RESULT_FILE_MAX} bytes")
    return data


def _first_entries(folder: Path, most: int) -> list[os.DirEntry[str]]:
    """Return the first entries in the order of their names; never more of them are in memory."""
    try:
        with os.scandir(folder) as entries:
            return heapq.nsmallest(most, entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _judge(entry: os.DirEntry[str]) -> ResultFile | LeftOut:
    shown = entry.name.encode("utf-8", "backslashreplace").decode("ascii", "backslashreplace")[:200]
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as fault:
        return LeftOut(name=shown, reason=f"cannot be read: {fault.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return LeftOut(name=shown, reason=f"{_kind(status.st_mode)}, not a regular file")
    if not NAME.fullmatch(entry.name):
        return LeftOut(name=shown, reason="its name has other characters than letters, digits, '.', '_' and '-'")
    if status.st_size > limits.RESULT_FILE_MAX:
        return LeftOut(name=shown, reason=f"{status.st_size} bytes, at most {limits.RESULT_FILE_MAX} are taken")
    return ResultFile(name=entry.name, stamp=(status.st_ino, status.st_size, status.st_mtime_ns))


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link"
    return "a folder" if stat.S_ISDIR(mode) else "a special file"
