# SPDX-License-Identifier: Apache-2.0
"""Node reports on the volume: one file per node, made once; a different later report of that node stands beside it.

A file is one line of JSON (who sent it, when, its digest) and the body as it was received, gzip and all: one flush
makes both durable, and no report exists without its origin.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from evidencerun import limits
from evidencerun.canonical import sha256_hex
from evidencerun.errors import StoreError
from evidencerun.store import disk
from evidencerun.store.bodies import inflate
from evidencerun.store.refusals import conflict
from evidencerun.validation.spec import SpecModel

_NODE_UID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEAD_MAX: Final = 4096


class Origin(SpecModel):
    """Where a report came from; `sha256` is of the inflated bytes, 64 hex digits."""

    node_uid: str
    node_name: str
    pod_uid: str
    pod_name: str
    received_at: str
    sha256: str


class Kept(StrEnum):
    """What became of a report."""

    FIRST = "first"
    REPEAT = "repeat"
    """The very bytes that are stored."""
    CONFLICT = "conflict"
    """Other bytes than those stored: kept beside them and flagged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """A report read back; `content` is inflated."""

    origin: Origin
    content: bytes
    conflicts: int


def keep(folder: Path, origin: Origin, body: bytes) -> Kept:
    """Store a report's gzip `body` durably below `folder`; the first report of a node is never replaced.

    Raises `RefusalError` 409 if the node has sent too many different reports, `VolumeFullError`, `StoreError`.
    """
    if not _NODE_UID.fullmatch(origin.node_uid):
        raise conflict("the node's uid cannot be a file name", why=repr(origin.node_uid[:80]))
    record = origin.model_dump_json(by_alias=True).encode() + b"\n" + body
    path = folder / origin.node_uid
    if _create(path, record):
        return Kept.FIRST
    if read_origin(path).sha256 == origin.sha256:
        return Kept.REPEAT
    beside = folder.parent / "conflicts" / origin.node_uid
    if (beside / origin.sha256).exists():
        return Kept.CONFLICT
    if conflict_count(folder, origin.node_uid) >= limits.CONFLICTS_MAX:
        raise conflict(
            f"node {origin.node_name} has sent {limits.CONFLICTS_MAX + 1} different reports", why="no more are kept"
        )
    _create(beside / origin.sha256, record)
    return Kept.CONFLICT


def read_origin(path: Path) -> Origin:
    """Return the first line of a report file."""
    with path.open("rb") as file:
        return Origin.model_validate_json(file.readline(_HEAD_MAX))


def read_report(folder: Path, node_uid: str) -> StoredReport | None:
    """Return a node's first report, or None if there is none. Raises `StoreError` E4520 if the file is damaged."""
    path = folder / node_uid
    if not _NODE_UID.fullmatch(node_uid) or not path.exists():
        return None
    head, _, body = path.read_bytes().partition(b"\n")
    origin = Origin.model_validate_json(head)
    content = inflate(body, what=f"the stored report of {origin.node_name}", limit=limits.REPORT_MAX)
    if sha256_hex(content) != origin.sha256:
        raise StoreError("E4520", f"the stored report of {origin.node_name} is damaged", where=node_uid)
    return StoredReport(origin=origin, content=content, conflicts=conflict_count(folder, node_uid))


def conflict_count(folder: Path, node_uid: str) -> int:
    """Return how many other reports of this node are kept."""
    beside = folder.parent / "conflicts" / node_uid
    return len(_names(beside))


def stored_uids(folder: Path) -> list[str]:
    """Return the uids of all nodes that have reported."""
    return _names(folder)


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(disk.TEMPORARY)]


def _create(path: Path, data: bytes) -> bool:
    """Create a file durably; False if it exists. Two at once: one of them wins, whole."""
    if path.exists():
        return False
    disk.make_folder(path.parent)
    temporary = path.parent / f"{disk.TEMPORARY}{secrets.token_hex(8)}"
    try:
        disk.write_flushed(temporary, [data])
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        disk.flush_folder(path.parent)
    except OSError as fault:
        raise disk.refused(fault, path) from fault
    finally:
        temporary.unlink(missing_ok=True)
    return True
