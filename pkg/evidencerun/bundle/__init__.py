# SPDX-License-Identifier: Apache-2.0
"""The bundle: its layout, inventory, archive, OCI artifact, run record and how it is assembled."""

from evidencerun.bundle.archive import read_archive, write_archive

__all__ = ["read_archive", "write_archive"]
