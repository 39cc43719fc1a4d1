# SPDX-License-Identifier: Apache-2.0
"""A verifier recomputes the fingerprint from the redacted nodes: it must be the one that the run computed."""

from __future__ import annotations

import pytest

from evidencerun.bundle.redaction import Redactor
from evidencerun.fingerprint import fingerprint
from evidencerun.snapshot.nodes import nodes_document

NAMES = {"accelerator": [{"id": "nvml.name", "tier": "T3", "level": "L2", "raw": "NVIDIA H100 80GB HBM3 x8"}]}
PLACE = {"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"provider_id": "azure:///subscriptions/s/vmss/x", "labels": {"kubernetes.azure.com/cluster": "c", **PLACE}},
        {"provider_id": "ocid1.instance.oc1.iad.x", "labels": {"oci.oraclecloud.com/fault-domain": "f"}},
        {"provider_id": "aws:///us-east-1e/i-0861d1808b85e90ca", "kubelet_version": "v1.34.2-eks-b3126f4"},
        {"provider_id": "kind://docker/kind/kind-worker", "capacity": {"nvidia.com/gpu": "8"}},
        {"provider_id": "k3s://node-1", "kubelet_version": "v1.31.2+k3s1"},
        {"labels": {"type": "kwok"}, "kernel_version": "6.1.0-fake"},
        {
            "pci": [("10de", "2330", "030200")] * 8,
            "signals": NAMES,
            "labels": {"nvidia.com/gpu.product": "NVIDIA-H100"},
        },
        {"pci": None, "labels": {"node.kubernetes.io/instance-type": "p5.48xlarge"}},
        {"release": ("ubuntu", "24.04"), "os_image": "Ubuntu 22.04.5 LTS"},
    ],
)
def test_the_fingerprint_is_the_same(cluster, members):
    nodes = cluster.nodes(cluster.node(1, **members), cluster.node(2, boot_id="boot-1", **members))
    redactor = Redactor(b"0123456789abcdef")
    redactor.learn(nodes.nodes)
    redacted = nodes_document([redactor.entry(entry) for entry in nodes.nodes])
    assert redacted != nodes
    before = fingerprint(cluster.snapshot(nodes), nodes)
    after = fingerprint(cluster.snapshot(redacted), redacted)
    assert after == before
    assert after.to_dict() == before.to_dict()
