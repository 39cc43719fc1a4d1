# SPDX-License-Identifier: Apache-2.0
"""The bundle: its layout, inventory, archive, OCI artifact, run record and how it is assembled (DESIGN section 11)."""
