# SPDX-License-Identifier: Apache-2.0
"""Copies a sealed bundle to where its owner wants it: a PersistentVolumeClaim, an OCI registry."""
