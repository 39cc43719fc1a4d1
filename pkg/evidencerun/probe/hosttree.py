# SPDX-License-Identifier: Apache-2.0
"""Bounded reads under a root folder: `/` on a node, a folder with the same shape in tests.

/proc and /sys of an ordinary container are the kernel's own; only /etc/os-release must come from the host, by a mount
at /host/etc/os-release.
"""

from __future__ import annotations

import errno
import os
from itertools import islice
from pathlib import Path

from evidencerun import limits


class HostTree:
    """Files of the node by their path below the root, written without the leading slash."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def path(self, name: str) -> Path:
        """Return the real path of `name`."""
        return self._root / name

    def text(self, name: str, *, limit: int = limits.HOST_FILE_MAX) -> str:
        """Return the text without white space at its end; undecodable bytes become U+FFFD.

        Raises `OSError` as the kernel gives it, and EFBIG for more than `limit` bytes.
        """
        with self.path(name).open("rb", buffering=0) as file:
            data = bytearray()
            while chunk := file.read(64 * limits.KIB):
                data += chunk
                if len(data) > limit:
                    raise OSError(errno.EFBIG, f"more than {limit} bytes", name)
        return data.decode("utf-8", "replace").replace("\0", " ").rstrip()

    def text_or(self, name: str, default: str = "") -> str:
        """Return the text, or `default` if the file cannot be read."""
        try:
            return self.text(name)
        except OSError:
            return default

    def names(self, name: str) -> list[str]:
        """Return the sorted names in a folder. Raises `OSError`, and EFBIG for too many."""
        with os.scandir(self.path(name)) as entries:
            found = [entry.name for entry in islice(entries, limits.HOST_ENTRIES_MAX + 1)]
        if len(found) > limits.HOST_ENTRIES_MAX:
            raise OSError(errno.EFBIG, f"more than {limits.HOST_ENTRIES_MAX} entries", name)
        return sorted(found)

    def exists(self, name: str) -> bool:
        """Tell whether anything is there, a dangling link included."""
        return os.path.lexists(self.path(name))

    def link_name(self, name: str) -> str:
        """Return the last part of a link's target, empty if there is no link."""
        try:
            return self.path(name).readlink().name
        except OSError:
            return ""
