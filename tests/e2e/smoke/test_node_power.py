# SPDX-License-Identifier: Apache-2.0
"""A node whose power is cut is reported NotReady, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cluster


def _ready(cluster: Cluster, name: str) -> str:
    conditions = cluster.get("node", name)["status"]["conditions"]
    return next(str(each["status"]) for each in conditions if each["type"] == "Ready")


def test_power_cut_of_a_node_shows_and_heals(cluster: Cluster) -> None:
    if cluster.flavour != "local":
        pytest.skip("only the local cluster can cut a node's power")
    name = max(cluster.nodes())
    number = name.removeprefix("node")
    cluster.manage("kill-node", number)
    try:
        cluster.wait_until(f"{name} is not Ready", lambda: _ready(cluster, name) != "True")
    finally:
        cluster.manage("start-node", number)
    assert _ready(cluster, name) == "True"
