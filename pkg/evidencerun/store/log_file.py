# SPDX-License-Identifier: Apache-2.0
"""The log of one container on the volume: its beginning in a file, its end in memory if it grows too long.

A stream may be read again from its start (after a cut, or after a restart of the store): what is stored already is
compared and skipped, so that nothing stands twice and nothing is lost.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from evidencerun import limits
from evidencerun.store import disk

_HEAD_MAX: Final = limits.CHECK_LOG_MAX - limits.LOG_TAIL_MAX
_TAIL_NAME: Final = ".tail"
_GAP: Final = b"\n[evidencerun: the kubelet rotated this log; lines may be missing or stand twice here]\n"


class LogFile:
    """A log being written; raises `VolumeFullError` or `StoreError` if it cannot be.

    `rotated` is set once a stream no longer began like the stored one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tail_path = path.with_name(path.name + _TAIL_NAME)
        disk.make_folder(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._handle = os.open(path, flags, 0o600)
        except OSError as fault:
            raise disk.refused(fault, path) from fault
        self._size = os.fstat(self._handle).st_size
        self._position = 0
        self._tail = bytearray()
        self.rotated = False

    @property
    def size(self) -> int:
        """Bytes that were written by the container, as far as they were seen."""
        return max(self._position, self._size)

    @property
    def dropped(self) -> int:
        """Bytes left out between the beginning and the end that are kept."""
        return max(0, self._position - self._size - len(self._tail))

    def ends_with(self, last: bytes) -> bool:
        """Return whether the stored log ends with these bytes."""
        if self._tail:
            return self._tail.endswith(last)
        return os.pread(self._handle, len(last), max(0, self._size - len(last))) == last

    def begin_stream(self) -> None:
        """Say that the next bytes are the stream's first."""
        self._position = 0
        self._tail.clear()

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the stream; raises `VolumeFullError`, `StoreError`."""
        view = memoryview(piece)
        try:
            known = min(len(view), max(0, self._size - self._position))
            if known and not self.rotated and not self._matches(view[:known]):
                self._begin_gap()
                known = 0
            self._position += known
            self._append(view[known:])
        except OSError as fault:
            raise disk.refused(fault, self._path) from fault

    def _matches(self, view: memoryview) -> bool:
        return os.pread(self._handle, len(view), self._position) == view

    def _begin_gap(self) -> None:
        """Keep what is stored, and go on behind it: the start of the stream is gone from the node."""
        self.rotated = True
        self._position = self._size
        self._append(memoryview(_GAP))

    def _append(self, view: memoryview) -> None:
        self._position += len(view)
        room = view[: max(0, _HEAD_MAX - self._size)]
        rest = view[len(room) :]
        while room:
            written = os.pwrite(self._handle, room, self._size)
            self._size += written
            room = room[written:]
        if rest:
            self._tail += rest
            if len(self._tail) > 2 * limits.LOG_TAIL_MAX:
                del self._tail[: -limits.LOG_TAIL_MAX]

    def close(self) -> None:
        """Flush everything to the volume; blocks."""
        try:
            if self._tail:
                disk.put(self._tail_path, bytes(self._tail[-limits.LOG_TAIL_MAX :]))
                del self._tail[: -limits.LOG_TAIL_MAX]
            os.fsync(self._handle)
            disk.flush_folder(self._path.parent)
        except OSError as fault:
            raise disk.refused(fault, self._path) from fault
        finally:
            os.close(self._handle)


def read_log(path: Path, dropped: int) -> bytes:
    """Return a closed log; a cut in its middle says how many bytes were dropped."""
    if not path.exists():
        return b""
    head = path.read_bytes()
    tail_path = path.with_name(path.name + _TAIL_NAME)
    if not tail_path.exists():
        return head
    mark = b"\n[evidencerun: %d bytes were dropped here]\n" % dropped if dropped else b""
    return head + mark + tail_path.read_bytes()
