# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from evidencerun import limits
from evidencerun.fingerprint import fingerprint
from evidencerun.fingerprint.labels import USED, frozen_labels, is_frozen, is_used
from evidencerun.fingerprint.tables import services
from evidencerun.snapshot.read import load_snapshot

ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"


def of(cluster, *entries, minimum=100):
    nodes = cluster.nodes(*entries)
    return fingerprint(cluster.snapshot(nodes, min_coverage_percent=minimum), nodes)


def test_a_cluster_without_gpus(cluster):
    found = of(cluster, cluster.node(1), cluster.node(2))
    assert found.accelerator.value == "none"
    assert found.accelerator.tier == "T2"
    assert found.accelerator.source == "pci.device"
    assert found.gpu_node_count == 0
    assert found.os.value == "debian"
    assert found.os_version.value == "12"
    assert found.kernel.value == "6.1.0-41-amd64"
    assert found.k8s_version.value == "1.36.3"
    assert found.service.describe() == "unknown(not_collected)"
    assert found.driver.describe() == found.gpu_model.describe() == "unknown(not_applicable)"
    assert not found.trust.synthetic
    assert found.markers == ()


@pytest.mark.parametrize("pci", [None])
@pytest.mark.parametrize("reason", ["permission", "sandboxed", "unreadable"])
def test_none_needs_a_pci_read_on_every_node(cluster, pci, reason):
    found = of(cluster, cluster.node(1), cluster.node(2, pci=pci, pci_reason=reason))
    assert found.accelerator.describe() == f"unknown({reason})"
    assert found.accelerator.values["none"].nodes == 1


def test_the_reason_of_the_probe_may_have_words_behind_it(cluster):
    found = of(cluster, cluster.node(1, pci=None, pci_reason="sandboxed: /sys/bus/pci/devices does not exist"))
    assert found.accelerator.describe() == "unknown(sandboxed)"
    other = of(cluster, cluster.node(1, pci=None, pci_reason="something new"))
    assert other.accelerator.describe() == "unknown(unreadable)"


def test_a_report_without_a_pci_source_knows_nothing_about_accelerators(cluster):
    entry = cluster.node(1)
    silent = entry.model_copy(update={"report": entry.report.model_copy(update={"sources": []})})
    assert of(cluster, silent).accelerator.describe() == "unknown(not_collected)"


def test_the_probes_own_words_are_not_believed(cluster):
    words = {"accelerator": [{"id": "pci.device", "tier": "T1", "level": "L1", "raw": "h100", "value": "h100"}]}
    assert of(cluster, cluster.node(1, signals=words)).accelerator.value == "none"


def test_two_nodes_with_one_boot_id_are_one_machine(cluster):
    entries = [cluster.node(i, boot_id="one", pci=cluster.gpus("2330")) for i in range(3)]
    found = of(cluster, *entries)
    assert found.markers == ("shared-kernel",)
    assert (found.scope.targeted, found.scope.machines) == (3, 1)
    count = found.accelerator.values["h100"]
    assert (count.nodes, count.machines, count.devices) == (3, 1, 8)
    assert found.to_dict()["coverage"]["markers"] == ["shared-kernel"]


def test_nodes_without_a_boot_id_are_machines_of_their_own(cluster):
    assert of(cluster, *(cluster.node(i, boot_id="") for i in range(3))).scope.machines == 3


def test_devices_and_signals_of_a_gpu_node(cluster):
    signals = {
        "accelerator": [
            {"id": "nvml.name", "tier": "T3", "level": "L2", "raw": "NVIDIA H100 80GB HBM3 x8"},
            {"id": "nvml.count", "tier": "T3", "level": "L2", "raw": "8", "value": "8"},
        ],
        "driver": [{"id": "nvml.driver", "tier": "T3", "level": "L2", "raw": "570.86.15", "value": "570.86.15"}],
    }
    labels = {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "node.kubernetes.io/instance-type": "p5.48xlarge",
    }
    entries = [cluster.node(i, pci=cluster.gpus("2330"), signals=signals, labels=labels) for i in range(2)]
    found = of(cluster, *entries)
    assert found.accelerator.value == "h100"
    assert found.accelerator.values["h100"].devices == 16
    assert [(each.id, each.tier.value, each.value, each.nodes) for each in found.accelerator.signals] == [
        ("pci.device", "T2", "h100", 2),
        ("nvml.name", "T3", "h100", 2),
        ("k8s.instance-type", "T4", "h100", 2),
        ("label.nvidia.com/gpu.product", "T5", "h100", 2),
    ]
    assert found.gpu_model.value == "NVIDIA H100 80GB HBM3"
    assert found.driver.value == "570.86.15"
    assert found.gpu_node_count == 2


def test_a_label_that_lies_is_a_conflict_and_not_the_value(cluster):
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    found = of(cluster, cluster.node(1, labels=labels))
    assert found.accelerator.value == "none"
    assert [(each.id, each.value) for each in found.accelerator.conflicts] == [("label.nvidia.com/gpu.product", "h100")]


def test_virtual_functions_beside_their_physical_one_count_for_nothing(cluster):
    entry = cluster.node(1)
    functions = [cluster.function(0, "1002", "74a1", "120000")]
    functions += [cluster.function(slot, "1002", "74b5", "120000", physical=False) for slot in range(1, 9)]
    entry = entry.model_copy(update={"report": entry.report.model_copy(update={"pci": functions})})
    assert of(cluster, entry).accelerator.values["mi300x"].devices == 1


def test_two_functions_of_an_mi250_are_one_board(cluster):
    found = of(cluster, cluster.node(1, pci=cluster.gpus("740c", 8, vendor="1002")))
    assert found.accelerator.values["mi250"].devices == 4


def test_a_mixed_node_is_no_value(cluster):
    found = of(cluster, cluster.node(1, pci=[*cluster.gpus("2330", 4), *cluster.gpus("26b9", 4)]))
    assert found.accelerator.describe() == "unknown(conflict)"
    assert {each.raw for each in found.accelerator.conflicts} == {"10de:2330 x4", "10de:26b9 x4"}


def test_a_known_board_beside_an_unknown_one_is_no_value(cluster):
    found = of(cluster, cluster.node(1, pci=[*cluster.gpus("2330", 4), *cluster.gpus("ffff", 1)]))
    assert found.accelerator.describe() == "unknown(conflict)"


def test_an_unknown_id_is_kept_with_its_number(cluster):
    found = of(cluster, cluster.node(1, pci=cluster.gpus("ffff", 2)))
    assert found.accelerator.describe() == "unknown(unknown_sku)"
    assert found.accelerator.signals[0].raw == "10de:ffff x2"
    assert found.aicr_members()["accelerator"] == {"value": "", "note": "unknown-sku"}


def test_products_and_zones_are_counted(cluster):
    entries = [
        cluster.node(1, pci=cluster.gpus("2330"), labels={ZONE: "a", REGION: "r"}),
        cluster.node(2, pci=cluster.gpus("2330"), labels={ZONE: "b", REGION: "r"}),
        cluster.node(3, pci=cluster.gpus("26b9", 4), labels={ZONE: "b", REGION: "s"}),
    ]
    found = of(cluster, *entries)
    assert found.zones == {"a": 1, "b": 2}
    assert {value: (count.nodes, count.devices) for value, count in found.accelerator.values.items()} == {
        "h100": (2, 16),
        "l40s": (1, 4),
    }
    members = found.aicr_members()
    assert members["region"] == {"value": "", "note": "multi-region"}
    assert members["accelerator"] == {"value": "", "note": "multi-gpu"}
    assert members["gpuNodeCount"] == {"value": 3}


def test_aicrs_members_are_exactly_eight(cluster):
    found = of(cluster, cluster.node(1, pci=cluster.gpus("2330"), release=("ubuntu", "24.04"), os_image=""))
    assert found.aicr_members() == {
        "service": {"value": ""},
        "accelerator": {"value": "h100", "source": "pci.device"},
        "gpuModel": {"value": ""},
        "os": {"value": "ubuntu", "source": "os-release", "version": "24.04"},
        "k8sVersion": {"value": "1.36.3", "source": "k8s.server.version"},
        "region": {"value": ""},
        "nodeCount": {"value": 1},
        "gpuNodeCount": {"value": 1},
    }


def test_a_claim_is_no_value_towards_aicr(cluster):
    found = of(cluster, cluster.node(1, labels={"eks.amazonaws.com/nodegroup": "n"}))
    assert found.service.describe() == "eks (claimed)"
    assert found.aicr_members()["service"] == {"value": ""}
    assert found.to_dict()["service"]["claimed"] == "eks"


@pytest.mark.parametrize(
    ("facts", "value"),
    [
        ({"provider_id": "azure:///x", "labels": {"kubernetes.azure.com/cluster": "c"}}, "aks"),
        ({"provider_id": "ocid1.instance.x", "labels": {"oci.oraclecloud.com/fault-domain": "f"}}, "oke"),
        ({"provider_id": "aws:///x", "kubelet_version": "v1.31.2+rke2r1"}, "rke2"),
        ({"provider_id": "vsphere://x", "os_image": "Red Hat Enterprise Linux CoreOS 418.94"}, "ocp"),
        ({"provider_id": "k3s://node-1", "kubelet_version": "v1.31.2+k3s1"}, "k3s"),
        ({"provider_id": "openstack:///x"}, "openstack"),
    ],
)
def test_services_by_independent_signs(cluster, facts, value):
    found = of(cluster, cluster.node(1, **facts))
    assert (found.service.status, found.service.value) == ("resolved", value)


def test_two_services_at_once_are_a_conflict(cluster):
    found = of(cluster, cluster.node(1, provider_id="kind://x", kubelet_version="v1.31.2+k3s1"))
    assert found.service.describe() == "unknown(conflict)"


def test_identifiers_do_not_get_into_the_signals(cluster):
    secret = "i-0861d1808b85e90ca"
    found = of(cluster, cluster.node(1, provider_id=f"aws:///us-east-1e/{secret}", boot_id="secret-boot"))
    assert found.kernel.signals
    assert secret not in str(found.to_dict())
    assert "secret-boot" not in str(found.to_dict())


@pytest.mark.parametrize(
    ("members", "marker"),
    [
        ({"markers": ["M4: the library is a mock"]}, "M4: the library is a mock"),
        ({"kernel_version": "6.1.0-fake"}, "M1"),
        ({"labels": {"type": "kwok"}}, "M1"),
        ({"provider_id": "kind://docker/a/b", "capacity": {"nvidia.com/gpu": "8"}}, "M5"),
        ({"provider_id": "k3s://a", "capacity": {"amd.com/gpu": "8"}}, "M5"),
    ],
)
def test_signs_of_simulation(cluster, members, marker):
    found = of(cluster, cluster.node(1, **members))
    assert found.trust.markers == (marker,)
    assert found.trust.synthetic


@pytest.mark.parametrize(
    "members",
    [
        {"provider_id": "kind://docker/a/b", "capacity": {"nvidia.com/gpu": "0"}},
        {"provider_id": "kind://docker/a/b", "capacity": {"nvidia.com/gpu": "8"}, "pci": [("10de", "2330", "030200")]},
        {"provider_id": "aws:///a", "capacity": {"nvidia.com/gpu": "8"}},
    ],
)
def test_what_is_no_sign_of_simulation(cluster, members):
    assert of(cluster, cluster.node(1, **members)).trust.markers == ()


def test_a_missing_node_still_counts_by_its_facts(cluster):
    found = of(cluster, cluster.node(1), cluster.node(2, state="missing", reason="node_not_ready"))
    assert found.os.value == "debian"
    assert found.os.tier == "T4"
    assert found.accelerator.describe() == "unknown(node_not_ready)"
    assert (found.scope.targeted, found.scope.reported, found.node_count) == (2, 1, 2)


def test_gaps_that_the_run_allows(cluster):
    entries = [cluster.node(i, pci=cluster.gpus("2330")) for i in range(9)]
    entries.append(cluster.node(9, state="failed", reason="not_scheduled"))
    assert of(cluster, *entries, minimum=90).accelerator.value == "h100"
    assert of(cluster, *entries, minimum=91).accelerator.describe() == "unknown(not_scheduled)"


def test_free_words_of_the_api_are_not_reported(cluster):
    entries = [cluster.node(1), cluster.node(2, state="missing", reason="0/3 nodes are available")]
    assert of(cluster, *entries).accelerator.describe() == "unknown(not_reported)"


def test_the_order_of_the_nodes_changes_nothing(cluster):
    entries = [cluster.node(i, pci=cluster.gpus("2330" if i % 3 else "26b9")) for i in range(9)]
    nodes = cluster.nodes(*entries)
    reverse = nodes.model_copy(update={"nodes": nodes.nodes[::-1]})
    snapshot = cluster.snapshot(nodes)
    assert fingerprint(snapshot, nodes).to_dict() == fingerprint(snapshot, reverse).to_dict()


def test_the_stored_block_changes_nothing(cluster):
    nodes = cluster.nodes(cluster.node(1, pci=cluster.gpus("2330")))
    snapshot = cluster.snapshot(nodes)
    found = fingerprint(snapshot, nodes)
    forged = snapshot.with_fingerprint({"accelerator": {"value": "gb300"}})
    reread = load_snapshot(snapshot.with_fingerprint(found.to_dict()).to_yaml())
    assert fingerprint(forged, nodes) == found
    assert fingerprint(reread, nodes) == found
    assert reread.stored_fingerprint == found.to_dict()


@pytest.mark.parametrize(
    ("key", "used"),
    [
        (ZONE, True),
        ("nvidia.com/gpu.product", True),
        ("eks.amazonaws.com/nodegroup", True),
        ("cloud.google.com/gke-nodepool", True),
        ("kubernetes.io/hostname", False),
        ("team.example.com/owner", False),
    ],
)
def test_which_labels_the_fingerprint_stands_on(key, used):
    assert is_used(key) is used


@pytest.mark.parametrize(
    ("key", "frozen"),
    [
        *((row, True) for row in USED),
        *((f"{row}x" if row[-1] in "/-" else row, True) for service in services() for row in service.labels),
        ("nvidia.com/gpu.count", True),
        ("feature.node.kubernetes.io/cpu-model.id", True),
        ("kubernetes.io/arch", True),
        ("topology.kubernetes.io/rack", True),
        ("kubernetes.io/hostname", False),
        ("kubernetes.io/architecture", False),
        ("team.example.com/owner", False),
        ("typed", False),
    ],
)
def test_a_plan_keeps_every_label_that_the_fingerprint_uses(key, frozen):
    assert is_frozen(key) is frozen
    assert (key in frozen_labels({key: "value"})) is frozen


def test_of_too_many_labels_those_that_are_used_are_kept():
    many = {f"amd.com/feature-{number:04}": "x" for number in range(limits.NODE_LABELS_MAX)}
    kept = frozen_labels({**many, "type": "kwok", "nebius.com/node-group": "g"})
    assert len(kept) == limits.NODE_LABELS_MAX
    assert {"type", "nebius.com/node-group"} <= kept.keys()
    assert list(kept) == sorted(kept)


def test_what_many_nodes_say_differently_is_counted_and_cut(cluster):
    number = limits.SIGNALS_MAX + 10
    found = of(cluster, *(cluster.node(i, kernel_version=f"6.{i}.0", labels={ZONE: f"z{i:03}"}) for i in range(number)))
    assert len(found.kernel.values) == number
    block = found.to_dict()
    assert len(block["kernel"]["values"]) == len(block["kernel"]["signals"]) == limits.SIGNALS_MAX
    assert (block["kernel"]["moreValues"], block["moreZones"]) == (10, 10)
    assert found.kernel.describe().endswith(f", {number - 5} more values")


def test_five_thousand_nodes_are_merged(cluster):
    gpus = cluster.gpus("2330")
    sysctl = {"OS.sysctl": {f"/proc/sys/kernel/k{number}": str(number) for number in range(50)}}
    entry = cluster.node(0, pci=gpus, readings=sysctl)
    entries = [
        entry.model_copy(
            update={"facts": entry.facts.model_copy(update={"uid": f"u{i:05d}", "name": f"n{i}", "boot_id": f"b{i}"})}
        )
        for i in range(5000)
    ]
    entries = [
        each.model_copy(update={"report": each.report.model_copy(update={"boot_id": each.facts.boot_id})})
        for each in entries
    ]
    nodes = cluster.nodes(*entries)
    snapshot = cluster.snapshot(nodes)
    count = fingerprint(snapshot, nodes).accelerator.values["h100"]
    assert (count.nodes, count.machines, count.devices) == (5000, 5000, 40000)
    assert snapshot.reading("OS.sysctl./proc/sys/kernel/k7").raw == "7"
