# SPDX-License-Identifier: Apache-2.0
"""Writes a bundle to a claim: whole or not at all, and never over something else."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Final

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.deliver.settings import PvcTarget
from evidencerun.deliver.storeparts import Part
from evidencerun.errors import InputError, WorldError
from evidencerun.oci.registry import file_digest

ARCHIVE_NAME: Final = "bundle.tar.gz"


def deliver_to_pvc(target: PvcTarget, run_name: str, archive: Part, logs: Part | None) -> str:
    """Write the archive, and the logs if there are any; return the folder relative to the claim's root.

    Raises:
        WorldError: E7302 nothing is mounted, E7303 it cannot be written.
        InputError: E7304 a file of this name with other content is there already.

    """
    if not target.mount.is_dir():
        raise WorldError(
            "E7302",
            "the claim is not mounted",
            where=str(target.mount),
            fix="check spec.deliver.pvc.claimName: kubectl get pvc",
            retryable=False,
        )
    folder = f"{target.path.rstrip('/')}/{run_name}-{archive.digest.removeprefix('sha256:')[:12]}"
    place = target.mount / folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        _put(archive, place / ARCHIVE_NAME)
        if logs is not None:
            _put(logs, place / layout.LOGS_ARCHIVE)
        _sync_folder(place)
    except OSError as fault:
        raise WorldError(
            "E7303",
            "the claim cannot be written",
            where=folder,
            why=f"{type(fault).__name__}: {fault.strerror or fault}",
            fix="the Job runs as user and group 65532: check space, access mode and fsGroup of the claim",
            retryable=False,
        ) from fault
    return folder


def _put(part: Part, target: Path) -> None:
    if os.path.lexists(target):
        _require_same(part, target)
        return
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.path.open("rb") as source, partial.open("xb") as file:
            shutil.copyfileobj(source, file, limits.MIB)
            file.flush()
            os.fsync(file.fileno())
        if file_digest(partial) != part.digest:
            raise OSError(errno.EIO, "the written file differs from what was sent")
        partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _require_same(part: Part, target: Path) -> None:
    """A second delivery of the same bundle finds its own files; anything else is somebody's."""
    found = file_digest(target) if target.is_file() and not target.is_symlink() else "no regular file"
    if found != part.digest:
        raise InputError(
            "E7304",
            f"{target.name} is there already with other content",
            where=str(target),
            why=f"found {found}, to be written {part.digest}",
            fix="move the old file away; nothing was overwritten",
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems refuse to sync a folder; the file itself is on disk.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
