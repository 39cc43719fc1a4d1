# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from evidencerun import limits
from evidencerun.constraint import Absent, Conflicting, GpuNodeLabels, Value
from evidencerun.snapshot import merging
from evidencerun.snapshot.coverage import coverage_of
from evidencerun.snapshot.document import Item
from evidencerun.snapshot.read import load_snapshot
from evidencerun.snapshot.topology import labels_by_node


def test_readings_on_which_all_nodes_agree_are_plain_values(cluster):
    snapshot = cluster.snapshot(cluster.nodes(cluster.node(1), cluster.node(2)))
    assert snapshot.reading("K8s.server.version") == Value("v1.36.3")
    assert snapshot.reading("K8s.node.kubelet-version") == Value("v1.36.3")
    assert snapshot.reading("K8s.node.container-runtime-name") == Value("containerd")
    assert snapshot.reading("OS.release.ID") == Value("debian")
    assert snapshot.reading("OS.sysctl./proc/sys/kernel/osrelease") == Value("6.1.0-41-amd64")


def test_disagreement_is_recorded_with_every_value_and_its_nodes(cluster):
    nodes = cluster.nodes(
        cluster.node(1), cluster.node(2), cluster.node(3, release=("debian", "13"), kubelet_version="v1.35.0")
    )
    snapshot = cluster.snapshot(nodes)
    assert snapshot.reading("OS.release.VERSION_ID") == Conflicting(("12", "13"))
    assert snapshot.reading("K8s.node.kubelet-version") == Conflicting(("v1.36.3", "v1.35.0"))
    (release,) = snapshot.subtypes("OS", "release")
    assert "VERSION_ID" not in release.data
    assert release.conflicts("VERSION_ID") == (
        Item(
            context={"key": "VERSION_ID", "kind": "value", "note": "conflict", "value": "12"},
            data={"node-count": 2, "node-list": "node-1,node-2", "truncated": False},
        ),
        Item(
            context={"key": "VERSION_ID", "kind": "value", "note": "conflict", "value": "13"},
            data={"node-count": 1, "node-list": "node-3", "truncated": False},
        ),
    )


def test_a_key_that_some_nodes_lack_is_no_value(cluster):
    loaded = {"OS.kmod": {"nvidia": True}}
    snapshot = cluster.snapshot(cluster.nodes(cluster.node(1, readings=loaded), cluster.node(2)))
    assert snapshot.reading("OS.kmod.nvidia") == Absent("1 nodes have no nvidia, others have")


def test_true_and_1_are_different_values(cluster):
    nodes = cluster.nodes(
        cluster.node(1, readings={"OS.grub": {"quiet": True}}), cluster.node(2, readings={"OS.grub": {"quiet": 1}})
    )
    assert cluster.snapshot(nodes).reading("OS.grub.quiet") == Conflicting(("1", "true"))


def test_many_values_are_cut_and_the_cut_is_never_taken_for_all_of_them(cluster):
    number = limits.CONFLICT_VALUES_MAX + 8
    nodes = cluster.nodes(*(cluster.node(i, readings={"OS.grub": {"id": i}}) for i in range(number)))
    snapshot = cluster.snapshot(nodes)
    (grub,) = snapshot.subtypes("OS", "grub")
    records = grub.conflicts("id")
    assert len(records) == limits.CONFLICT_VALUES_MAX + 1
    assert records[-1].context["value"] == "8 more values"
    assert sum(int(item.data["node-count"]) for item in records) == number
    assert isinstance(snapshot.reading("OS.grub.id"), Absent)


def test_names_of_many_nodes_are_cut_and_their_number_is_exact(cluster):
    half = limits.CONFLICT_NODES_MAX + 5
    nodes = [cluster.node(i, readings={"OS.grub": {"id": i % 2}}) for i in range(2 * half)]
    (grub,) = cluster.snapshot(cluster.nodes(*nodes)).subtypes("OS", "grub")
    assert len(grub.items) == 2
    for item in grub.items:
        assert item.data["node-count"] == half
        assert item.data["truncated"] is True
        assert len(str(item.data["node-list"]).split(",")) == limits.CONFLICT_NODES_MAX


def test_missing_nodes_leave_readings_of_reports_absent(cluster):
    nodes = cluster.nodes(cluster.node(1), cluster.node(2, state="missing", reason="not_scheduled"))
    snapshot = cluster.snapshot(nodes)
    assert snapshot.reading("OS.release.ID") == Absent("only 1 of 2 target nodes reported, 100 % are asked for")
    assert snapshot.reading("K8s.node.kubelet-version") == Value("v1.36.3")


def test_the_run_may_ask_for_less_than_all_nodes(cluster):
    nodes = cluster.nodes(cluster.node(1), cluster.node(2, state="missing"))
    snapshot = cluster.snapshot(nodes, min_coverage_percent=50)
    assert snapshot.reading("OS.release.ID") == Value("debian")
    stated = coverage_of(load_snapshot(snapshot.to_yaml()))
    assert stated is not None
    assert (stated.targeted, stated.reported, stated.minimum_percent) == (2, 1, 50)
    assert stated.enough
    assert not stated.complete


def test_nobody_reported_is_never_enough(cluster):
    nodes = cluster.nodes(cluster.node(1, state="failed"), cluster.node(2, state="missing"))
    snapshot = cluster.snapshot(nodes, min_coverage_percent=1)
    stated = coverage_of(snapshot)
    assert stated is not None
    assert not stated.enough
    assert isinstance(snapshot.reading("OS.release.ID"), Absent)


def test_no_nodes_give_a_snapshot_of_the_server_alone(cluster):
    snapshot = cluster.snapshot(cluster.nodes())
    assert [measurement.type for measurement in snapshot.measurements] == ["K8s"]
    assert load_snapshot(snapshot.to_yaml()) == snapshot


def test_labels_stand_in_both_encodings(cluster):
    zone = "topology.kubernetes.io/zone"
    nodes = cluster.nodes(
        cluster.node(1, labels={zone: "a", "team": "x"}),
        cluster.node(2, labels={zone: "b.c", "team": "x"}),
        cluster.node(3, labels={zone: "a"}),
    )
    (label,) = cluster.snapshot(nodes).subtypes("NodeTopology", "label")
    assert label.data == {f"{zone}.a": "a|node-1,node-3", f"{zone}.b.c": "b.c|node-2", "team": "x|node-1,node-2"}
    expected = {
        "node-1": {zone: "a", "team": "x"},
        "node-2": {zone: "b.c", "team": "x"},
        "node-3": {zone: "a"},
    }
    assert labels_by_node([label]) == (expected, True)


def test_our_labels_never_prove_that_a_label_is_on_no_gpu_node(cluster):
    nodes = cluster.nodes(cluster.node(1, labels={"cloud.google.com/gke-accelerator": "nvidia-b200"}))
    found = cluster.snapshot(nodes).reading("NodeTopology.gpu-nodes.label")
    assert isinstance(found, GpuNodeLabels)
    assert list(found.labels) == ["node-1"]
    assert not found.complete


def test_identities_of_single_nodes_are_written_only_if_there_is_one(cluster):
    one = cluster.snapshot(cluster.nodes(cluster.node(1, provider_id="aws:///x/i-1")))
    two = cluster.snapshot(
        cluster.nodes(cluster.node(1, provider_id="aws:///x/i-1"), cluster.node(2, provider_id="aws:///x/i-2"))
    )
    assert one.scalar("K8s", "node", "provider-id") == "aws:///x/i-1"
    assert two.scalar("K8s", "node", "provider-id") is None
    assert two.scalar("K8s", "node", "provider") == "eks"


@pytest.mark.parametrize(
    ("provider_id", "word"),
    [
        ("aws:///us-east-1e/i-0", "eks"),
        ("gce://project/zone/name", "gke"),
        ("azure:///subscriptions/x", "aks"),
        ("ocid1.instance.oc1.iad.x", "oke"),
        ("kind://docker/kind/control-plane", "kind"),
        ("openstack:///2c7c", "openstack"),
        ("", None),
        ("no-scheme", None),
    ],
)
def test_provider_is_aicrs_word_for_the_scheme(cluster, provider_id, word):
    nodes = cluster.nodes(cluster.node(1, provider_id=provider_id))
    assert cluster.snapshot(nodes).scalar("K8s", "node", "provider") == word


def test_the_order_of_the_nodes_changes_nothing(cluster):
    entries = [cluster.node(i, readings={"OS.grub": {"id": i % 3}}, labels={"zone": str(i % 2)}) for i in range(7)]
    forward, backward = cluster.nodes(*entries), cluster.nodes(*reversed(entries))
    assert forward.to_bytes() == backward.to_bytes()
    assert cluster.snapshot(forward).to_yaml() == cluster.snapshot(backward).to_yaml()


def test_one_node_cannot_fill_the_snapshot(cluster):
    flood = {f"/proc/sys/flood/{number}": "x" for number in range(3 * limits.SUBTYPE_KEYS_MAX)}
    flooding = cluster.node(1, readings={"OS.sysctl": {**flood, "/proc/sys/kernel/shmall": "1"}})
    others = [cluster.node(i, readings={"OS.sysctl": {"/proc/sys/kernel/shmall": "1"}}) for i in (2, 3)]
    snapshot = cluster.snapshot(cluster.nodes(flooding, *others))
    (sysctl,) = snapshot.subtypes("OS", "sysctl")
    assert sysctl.items[-1].context["note"] == "cut"
    assert snapshot.reading("OS.sysctl./proc/sys/kernel/shmall") == Value("1")
    assert load_snapshot(snapshot.to_yaml()) == snapshot


@pytest.mark.parametrize("filling", [0, 255])
def test_of_a_flood_of_keys_only_those_that_are_taken_cost_a_look_at_every_node(cluster, monkeypatch, filling):
    made = []
    one = merging._record
    monkeypatch.setattr(merging, "_record", lambda *words: made.append(words[0]) or one(*words))
    flood = {f"a{number:03}": "y" * 4096 for number in range(filling)}
    flood |= {f"k{number}": "x" * 4096 if filling else "x" for number in range(5 * limits.SUBTYPE_KEYS_MAX)}
    cluster.snapshot(cluster.nodes(cluster.node(1, readings={"OS.grub": flood}), cluster.node(2)))
    assert len(set(made)) <= limits.SUBTYPE_KEYS_MAX
    assert len(made) <= 2 * len(set(made))


def test_long_values_are_bounded_and_the_cut_is_stated(cluster):
    long = {f"k{number:03}": "y" * 4096 for number in range(400)}
    snapshot = cluster.snapshot(cluster.nodes(cluster.node(1, readings={"OS.grub": long})))
    (grub,) = snapshot.subtypes("OS", "grub")
    kept = limits.SUBTYPE_BYTES_MAX // (4096 + 4)
    assert len(grub.data) == kept
    assert grub.items[-1].data == {"key-count": 400 - kept}


def test_noise_on_many_nodes_stays_readable(cluster):
    number = 200
    noise = [{f"n{key:03}": f"{node}-{key}" for key in range(100)} for node in range(number)]
    nodes = cluster.nodes(*(cluster.node(i, readings={"OS.sysctl": noise[i]}) for i in range(number)))
    snapshot = cluster.snapshot(nodes)
    (sysctl,) = snapshot.subtypes("OS", "sysctl")
    assert len(sysctl.items) <= limits.CONFLICT_ITEMS_MAX + limits.CONFLICT_VALUES_MAX + 100
    assert isinstance(snapshot.reading("OS.sysctl.n099"), Absent)
    assert load_snapshot(snapshot.to_yaml()) == snapshot


def test_more_subtypes_than_known_are_cut_to_those_of_most_nodes(cluster):
    many = {f"Odd.s{number:02}": {"a": 1} for number in range(40)}
    snapshot = cluster.snapshot(cluster.nodes(cluster.node(1, readings=many), cluster.node(2)))
    merged = [subtype for each in snapshot.measurements if each.type in ("Odd", "OS") for subtype in each.subtypes]
    assert len(merged) == limits.SUBTYPES_MAX
    assert snapshot.reading("OS.release.ID") == Value("debian")


def test_labels_of_many_nodes_are_bounded_and_counted_exactly(cluster):
    number = 300
    nodes = []
    for i in range(number):
        labels = {f"nvidia.com/l{key:03}": "x" for key in range(450)}
        labels |= {"nvidia.com/gfd.timestamp": str(i), "topology.kubernetes.io/zone": str(i % 2)}
        nodes.append(cluster.node(i, labels=labels))
    snapshot = cluster.snapshot(cluster.nodes(*nodes))
    (label,) = snapshot.subtypes("NodeTopology", "label")
    zones = [item for item in label.items if item.context["key"] == "topology.kubernetes.io/zone"]
    assert [item.data["node-count"] for item in zones] == [150, 150]
    stamps = [item for item in label.items if item.context["key"] == "nvidia.com/gfd.timestamp"]
    assert len(stamps) == limits.LABEL_VALUES_MAX + 1
    assert stamps[-1].context["value"] == f"{number - limits.LABEL_VALUES_MAX} more values"
    assert label.items[-1].context["value"] == f"{452 - limits.LABEL_KEYS_MAX} more labels"
    assert snapshot.scalar("NodeTopology", "summary", "label-count") == 452
    assert load_snapshot(snapshot.to_yaml()) == snapshot
    found, complete = labels_by_node([label])
    assert not complete
    assert "nvidia.com/gfd.timestamp" not in found["node-299"]


def test_names_of_nodes_are_listed_until_there_is_no_room(cluster, monkeypatch):
    monkeypatch.setattr(limits, "LABEL_NAMES_BYTES_MAX", 500)
    nodes = [cluster.node(i, labels={"a": "x", "b": "x"}) for i in range(50)]
    (label,) = cluster.snapshot(cluster.nodes(*nodes)).subtypes("NodeTopology", "label")
    first, second = label.items
    assert (first.data["node-count"], first.data["truncated"]) == (50, False)
    assert (second.data["node-count"], second.data["truncated"]) == (50, True)
    assert str(label.data["b"]).endswith("(+30 more)")
    found, complete = labels_by_node([label])
    assert (len([node for node in found.values() if "b" in node]), complete) == (20, False)
