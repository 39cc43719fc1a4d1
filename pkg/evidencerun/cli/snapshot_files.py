# SPDX-License-Identifier: Apache-2.0
"""Reads the input files of `evr fingerprint` and `evr match`, each within its limit."""

from __future__ import annotations

from pathlib import Path

from evidencerun import limits
from evidencerun.errors import InputError
from evidencerun.snapshot.document import Snapshot
from evidencerun.snapshot.nodes import NodesDocument, load_nodes
from evidencerun.snapshot.read import load_snapshot


def read_input(path: Path, at_most: int) -> bytes:
    """Return the file's bytes, one more than allowed at most, so that a longer file is refused and not cut.

    Raises:
        InputError: E1430, it cannot be read.

    """
    try:
        with path.open("rb") as source:
            return source.read(at_most + 1)
    except OSError as fault:
        raise InputError(
            "E1430", "the file cannot be read", where=str(path), why=str(fault.strerror), fix="check the path"
        ) from fault


def read_snapshot(path: Path, nodes: Path | None) -> tuple[Snapshot, NodesDocument | None]:
    """Return the snapshot and, where it is given, nodes.json."""
    snapshot = load_snapshot(read_input(path, limits.SNAPSHOT_MAX))
    if nodes is None:
        return snapshot, None
    return snapshot, load_nodes(read_input(nodes, limits.NODES_DOCUMENT_MAX))
