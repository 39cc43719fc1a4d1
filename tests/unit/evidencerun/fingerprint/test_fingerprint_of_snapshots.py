# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of snapshots without nodes.json: AICR's, and our own."""

from __future__ import annotations

import pytest

from evidencerun.fingerprint import fingerprint
from evidencerun.snapshot.document import Item, Measurement, Snapshot, Subtype
from evidencerun.snapshot.read import load_snapshot


def taken(*subtypes: tuple[str, Subtype], **members: object) -> Snapshot:
    measurements = [Measurement(type=kind, subtypes=(subtype,)) for kind, subtype in subtypes]
    return Snapshot(measurements=tuple(measurements), **members)


def hardware(**data: object) -> tuple[str, Subtype]:
    return "GPU", Subtype(name="hardware", data={key.replace("_", "-"): value for key, value in data.items()})


def topology(count: int) -> tuple[str, Subtype]:
    return "NodeTopology", Subtype(name="summary", data={"node-count": count})


def labels(*rows: tuple[str, str, str]) -> tuple[str, Subtype]:
    items = [
        Item(
            context={"key": key, "value": value},
            data={"node-list": nodes, "node-count": nodes.count(",") + 1, "truncated": False},
        )
        for key, value, nodes in rows
    ]
    return "NodeTopology", Subtype(name="label", items=tuple(items))


KNOWN = {
    "h100": {
        "service": {"value": "eks", "source": "k8s.server.version"},
        "accelerator": {"value": "h100", "source": "GPU.smi.gpu.model"},
        "gpuModel": {"value": "NVIDIA H100 80GB HBM3", "source": "GPU.smi.gpu.model"},
        "os": {"value": "ubuntu", "source": "os-release", "version": "24.04"},
        "k8sVersion": {"value": "1.30.14-eks-3025e55", "source": "k8s.server.version"},
    },
    "gb200": {
        "service": {"value": "eks", "source": "k8s.server.version"},
        "accelerator": {"value": "gb200", "source": "GPU.smi.gpu.model"},
        "gpuModel": {"value": "NVIDIA GB200", "source": "GPU.smi.gpu.model"},
        "os": {"value": "ubuntu", "source": "os-release", "version": "24.04"},
        "k8sVersion": {"value": "1.34.2-eks-b3126f4", "source": "k8s.server.version"},
    },
}


def _real(test_data, name):
    return fingerprint(load_snapshot((test_data / f"aicr/v0.9.12/examples/snapshots/{name}.yaml").read_bytes()))


@pytest.mark.parametrize("name", KNOWN)
def test_real_snapshots_give_the_known_members(test_data, name):
    members = _real(test_data, name).aicr_members()
    assert {key: members[key] for key in KNOWN[name]} == KNOWN[name]
    assert members["region"] == {"value": ""}


@pytest.mark.parametrize(("name", "devices", "driver"), [("h100", 8, "570.133.20"), ("gb200", 4, "580.82.07")])
def test_real_snapshots_give_their_devices_and_driver(test_data, name, devices, driver):
    found = _real(test_data, name)
    assert found.accelerator.values[name].devices == devices
    assert found.driver.value == driver


def test_the_real_disagreement_about_the_os_version_is_reported(test_data):
    found = _real(test_data, "h100")
    assert [(each.id, each.value, each.raw) for each in found.os_version.conflicts] == [
        ("node.osImage", "22.04", "Ubuntu 22.04.5 LTS")
    ]
    assert _real(test_data, "gb200").os_version.conflicts == ()


@pytest.mark.parametrize("name", KNOWN)
def test_every_value_of_a_real_snapshot_names_its_signals(test_data, name):
    found = _real(test_data, name)
    facets = (found.service, found.accelerator, found.os, found.os_version, found.k8s_version, found.kernel)
    for facet in facets:
        assert facet.resolved
        assert facet.source in {signal.id for signal in facet.signals}
        assert facet.tier in {signal.tier for signal in facet.signals}


def test_an_empty_snapshot_knows_nothing():
    found = fingerprint(Snapshot())
    assert {name: member["value"] for name, member in found.aicr_members().items()} == {
        "service": "",
        "accelerator": "",
        "gpuModel": "",
        "os": "",
        "k8sVersion": "",
        "region": "",
        "nodeCount": 0,
        "gpuNodeCount": 0,
    }
    assert found.scope.targeted == 0


@pytest.mark.parametrize(
    ("data", "described"),
    [
        ({"gpu_present": True, "model": "h100", "detection_source": "nfd"}, "h100"),
        ({"gpu_present": True, "model": "MI300X"}, "mi300x"),
        ({"gpu_present": True, "model": "NVIDIA H200"}, "h200"),
        ({"gpu_present": True, "model": "something"}, "unknown(unknown_sku)"),
        ({"gpu_present": True}, "unknown(unknown_sku)"),
        ({"gpu_present": False, "gpu_count": 0, "detection_source": "sysfs"}, "none"),
        ({"gpu_present": False, "detection_source": "nvidia-smi"}, "unknown(not_collected)"),
    ],
)
def test_gpu_hardware_of_the_newer_generation(data, described):
    assert fingerprint(taken(hardware(**data))).accelerator.describe() == described


def test_a_count_of_zero_without_nvidia_smi_is_no_driver_and_not_none():
    smi = ("GPU", Subtype(name="smi", data={"gpu-count": 0}))
    assert fingerprint(taken(smi)).accelerator.describe() == "unknown(no_driver)"


def test_one_sampled_node_of_several_leaves_the_others_unknown():
    found = fingerprint(taken(hardware(gpu_present=True, model="h100"), topology(3)))
    assert found.accelerator.describe() == "unknown(not_reported)"
    assert (found.scope.targeted, found.scope.reported, found.scope.in_cluster) == (3, 1, 3)
    assert found.node_count == 3


def test_one_sampled_node_of_one_is_the_cluster():
    found = fingerprint(taken(hardware(gpu_present=False, detection_source="sysfs"), topology(1)))
    assert found.accelerator.value == "none"


def test_labels_of_the_nodes_that_were_not_looked_at_claim():
    product = ("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3", "a,b")
    zone = ("topology.kubernetes.io/zone", "z1", "a,b")
    region = ("topology.kubernetes.io/region", "r1", "a,b")
    node = ("K8s", Subtype(name="node", data={"source-node": "a"}))
    found = fingerprint(
        taken(node, hardware(gpu_present=True, model="h100"), topology(2), labels(product, zone, region))
    )
    assert found.accelerator.describe() == "h100 (claimed)"
    assert found.zones == {"z1": 2}
    assert found.region.value == "r1"
    assert found.gpu_node_count == 2


def test_two_products_in_the_labels_are_a_conflict():
    rows = [("nvidia.com/gpu.product", f"NVIDIA-{name}", node) for name, node in (("H100-PCIe", "a"), ("L40S", "b"))]
    found = fingerprint(taken(topology(2), labels(*rows)))
    assert found.aicr_members()["accelerator"] == {"value": "", "note": "multi-gpu"}


def test_the_word_eks_of_an_old_agent_is_only_the_cloud():
    node = ("K8s", Subtype(name="node", data={"provider": "eks"}))
    found = fingerprint(taken(node))
    assert found.service.describe() == "eks (claimed)"
    kind = ("K8s", Subtype(name="node", data={"provider": "kind"}))
    assert fingerprint(taken(kind)).service.value == "kind"


def test_our_own_snapshot_alone_says_what_it_can(cluster):
    hardware_reading = {"GPU.hardware": {"gpu-present": False, "gpu-count": 0, "detection-source": "sysfs"}}
    entries = [cluster.node(i, readings=hardware_reading, provider_id=f"kind://d/{i}") for i in range(3)]
    snapshot = load_snapshot(cluster.snapshot(cluster.nodes(*entries)).to_yaml())
    found = fingerprint(snapshot)
    assert found.accelerator.value == "none"
    assert found.service.value == "kind"
    assert found.os.value == "debian"
    assert (found.scope.targeted, found.scope.reported) == (3, 3)
    assert found.node_count == 3


def test_our_own_snapshot_keeps_disagreement_and_gaps(cluster):
    entries = [cluster.node(1), cluster.node(2, release=("ubuntu", "24.04"), os_image="Ubuntu 24.04.3 LTS")]
    mixed = fingerprint(cluster.snapshot(cluster.nodes(*entries)))
    assert mixed.os.describe() == "unknown(conflict)"
    gap = fingerprint(cluster.snapshot(cluster.nodes(cluster.node(1), cluster.node(2, state="missing"))))
    assert gap.os.describe() == "unknown(not_reported)"
    assert (gap.scope.targeted, gap.scope.reported) == (2, 1)


def test_our_own_snapshot_counts_machines_and_their_devices_once(cluster):
    reading = {"GPU.hardware": {"gpu-present": True, "gpu-count": 8, "model": "h100"}}
    shared = [cluster.node(i, boot_id=f"boot-{i // 2}", readings=reading) for i in range(4)]
    found = fingerprint(cluster.snapshot(cluster.nodes(*shared)))
    assert found.markers == ("shared-kernel",)
    assert (found.scope.targeted, found.scope.machines) == (4, 2)
    assert found.accelerator.values["h100"].devices == 16
