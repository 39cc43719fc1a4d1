# SPDX-License-Identifier: Apache-2.0
"""Fixtures of several folders: composed runs with their sealed bundle, and the builder of clusters (tests/support)."""

from cluster_builder import cluster
from composed_run import (
    compose_attempt,
    compose_catalog,
    compose_node,
    composed_run,
    seal,
    sealed_bundle,
    signing_key,
)

__all__ = [
    "cluster",
    "compose_attempt",
    "compose_catalog",
    "compose_node",
    "composed_run",
    "seal",
    "sealed_bundle",
    "signing_key",
]
