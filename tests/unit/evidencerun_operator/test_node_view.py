# SPDX-License-Identifier: Apache-2.0
"""What the operator freezes of a Node object is what the fingerprint stands on, and the store agrees."""

from __future__ import annotations

import pytest

from evidencerun.fingerprint.labels import USED
from evidencerun_operator.views import node_view

SERVICES = ("nebius.com/node-group", "doks.digitalocean.com/node-id", "extensions.talos.dev/nvidia", "type")


@pytest.mark.parametrize("key", [*USED, *SERVICES, "nvidia.com/gpu.count", "kubernetes.io/arch"])
def test_a_label_that_the_fingerprint_uses_goes_into_the_plan(key):
    body = {"metadata": {"name": "a", "uid": "u", "labels": {key: "x", "team.example.com/owner": "y"}}}
    view = node_view(body)
    assert view.facts.labels == {key: "x"}
    assert view.labels == {key: "x", "team.example.com/owner": "y"}
