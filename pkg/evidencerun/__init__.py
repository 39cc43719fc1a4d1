# SPDX-License-Identifier: Apache-2.0
"""Evidence about GPU Kubernetes clusters: collected, sealed and verified."""

__version__ = "0.1.0"
