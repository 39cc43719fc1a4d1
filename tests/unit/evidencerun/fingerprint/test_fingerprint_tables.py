# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from importlib import resources

import pytest

from evidencerun.fingerprint import tables
from evidencerun.fingerprint.accelerator_signals import label_observations, uncounted
from evidencerun.fingerprint.node_view import Aspect
from evidencerun.fingerprint.os_signals import os_observations
from evidencerun.fingerprint.resolve import resolve_node
from evidencerun.fingerprint.service_signals import (
    image_observations,
    provider_observations,
    version_observations,
)
from evidencerun.fingerprint.service_signals import label_observations as service_labels
from evidencerun.fingerprint.tables import accelerators, instance_types, operating_systems, services

ASKED_ACCELERATORS = [
    "h100",
    "h200",
    "gh200",
    "b200",
    "gb200",
    "b300",
    "gb300",
    "a100",
    "l40",
    "l40s",
    "l4",
    "rtx-pro-6000",
    "mi210",
    "mi250",
    "mi250x",
    "mi300a",
    "mi300x",
    "mi308x",
    "mi325x",
    "mi350x",
    "mi355x",
]
ASKED_SERVICES = [
    "eks",
    "aks",
    "gke",
    "oke",
    "coreweave",
    "lke",
    "ocp",
    "rke2",
    "k3s",
    "kind",
    "metal3",
    "openstack",
    "vsphere",
    "talos",
    "nebius",
    "crusoe",
    "forge",
    "on-prem",
]
ASKED_SYSTEMS = [
    "ubuntu",
    "rhel",
    "rhcos",
    "bottlerocket",
    "cos",
    "amazonlinux",
    "ol",
    "sles",
    "talos",
    "flatcar",
    "azurelinux",
    "debian",
]


def _raw(name: str) -> dict[str, object]:
    text = resources.files("evidencerun.fingerprint").joinpath("data", f"{name}.json").read_text()
    return json.loads(text)


@pytest.mark.parametrize("name", ["accelerators", "instance_types", "services", "operating_systems"])
def test_every_row_says_whether_it_is_sourced_and_where_from(name):
    for row in _raw(name)["rows"]:
        assert isinstance(row["sourced"], bool)
        assert row["source"]


def test_every_value_that_is_asked_for_has_a_row():
    assert set(ASKED_ACCELERATORS) <= {hit.value for hit in accelerators().by_pci.values()}
    assert set(ASKED_SERVICES) <= {row.value for row in services()}
    assert set(ASKED_SYSTEMS) <= {row.value for row in operating_systems()}


def test_no_pci_id_and_no_name_stands_in_two_rows():
    rows = _raw("accelerators")["rows"]
    ids = [(row["vendor"], device) for row in rows for device in row["pci"]]
    names = [name for row in rows for name in row["names"]]
    assert len(ids) == len(set(ids))
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", _raw("accelerators")["rows"], ids=lambda row: row["value"])
def test_accelerators_row_by_row(row):
    table = accelerators()
    vendor = {"nvidia": "10de", "amd": "1002"}[row["vendor"]]
    for device in row["pci"]:
        assert table.by_pci[(vendor, device)].value == row["value"]
    for name in row["names"]:
        assert table.named(name).value == row["value"]
        assert table.named(name.replace(" ", "-")).value == row["value"]
        assert table.named(name.replace(" ", "_")).value == row["value"]
    assert table.satisfies(row["value"], row["value"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", "h100"),
        ("NVIDIA-H100-80GB-HBM3-SHARED", "h100"),
        ("NVIDIA GB200", "gb200"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA-L40", "l40"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("AMD_Instinct_MI300X_OAM", "mi300x"),
        ("AMD Instinct MI325 OAM", "mi325x"),
        ("AMD INSTINCT MI250 (MCM) OAM AC MBA", "mi250"),
        ("AMD INSTINCT MI200 (MCM) OAM LC MBA HPE C2", "mi250x"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000"),
        ("Tesla T4", "t4"),
    ],
)
def test_product_names_are_read_by_whole_tokens(name, value):
    assert accelerators().named(name).value == value


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA RTX A1000",
        "NVIDIA RTX PRO 6000D",
        "NVIDIA Graphics Device",
        "NVIDIA A100X",
        "NVIDIA RTX 6000 Ada Generation",
        "AMD Instinct MI250X / MI250",
        "H100 or H200",
        "",
    ],
)
def test_names_that_are_close_or_ambiguous_are_no_product(name):
    assert accelerators().named(name) is None


def test_a_long_text_is_compared_with_the_rows_that_begin_like_a_part_of_it(monkeypatch):
    compared = []
    monkeypatch.setattr(tables, "_contains", lambda tokens, run: compared.append(run[0]))
    assert accelerators().named("A " * 2000) is None
    assert accelerators().named("A " * 2000 + "H100") is None
    assert set(compared) == {"H100"}


def test_a_node_with_more_kinds_of_accelerators_than_slots_is_read_as_one_text():
    kinds = [f"GPU {number:02}" for number in range(33)]
    assert uncounted(", ".join(f"{kind} x2" for kind in kinds[:32])) == kinds[:32]
    assert uncounted(", ".join(kinds)) == [", ".join(kinds)]


@pytest.mark.parametrize("value", [*ASKED_ACCELERATORS, "none"])
def test_only_mi300x_and_mi300a_are_what_a_recipe_means_by_mi300(value):
    assert accelerators().satisfies("mi300", value) is (value in ("mi300x", "mi300a"))
    assert accelerators().satisfies("h100", value) is (value == "h100")


@pytest.mark.parametrize(
    ("vendor", "class_code", "expected"),
    [
        ("10de", "030200", True),
        ("10de", "030000", True),
        ("10de", "068000", False),
        ("10de", "040300", False),
        ("1002", "120000", True),
        ("1002", "038000", True),
        ("1a03", "030000", False),
        ("1af4", "030000", False),
        ("8086", "120000", True),
        ("ffff", "030200", True),
        ("8086", "060000", False),
    ],
)
def test_which_pci_functions_are_accelerators(vendor, class_code, expected):
    assert accelerators().is_accelerator(vendor, class_code) is expected


@pytest.mark.parametrize("row", _raw("instance_types")["rows"], ids=lambda row: row["pattern"])
def test_instance_types_row_by_row(row):
    example = row["pattern"].replace("*", "xlarge")
    hit = instance_types().find(example)
    assert (hit.value, hit.sourced) == (row["value"], row["sourced"])
    (observation,) = label_observations({"node.kubernetes.io/instance-type": example})
    assert resolve_node([observation]).status == ("resolved" if row["sourced"] else "claimed")


@pytest.mark.parametrize("row", _raw("instance_types")["gkeAccelerators"], ids=lambda row: row["pattern"])
def test_gke_accelerators_row_by_row(row):
    (observation,) = label_observations({"cloud.google.com/gke-accelerator": row["pattern"]})
    assert observation.value == row["value"]
    assert resolve_node([observation]).status == "claimed"


def test_unknown_instance_types_say_nothing():
    assert instance_types().find("m5.large") is None
    assert list(label_observations({"node.kubernetes.io/instance-type": "m5.large"})) == []


SERVICE_SIGNS = [
    ("eks", "version", "v1.33.4-eks-99d6cc0", "resolved"),
    ("eks", "label", "eks.amazonaws.com/nodegroup", "claimed"),
    ("eks", "label", "alpha.eksctl.io/cluster-name", "claimed"),
    ("eks", "provider", "aws:///us-west-2a/i-0", "claimed"),
    ("gke", "version", "v1.29.5-gke.1091000", "resolved"),
    ("gke", "label", "cloud.google.com/gke-nodepool", "claimed"),
    ("gke", "provider", "gce://project/zone/name", "claimed"),
    ("aks", "label", "kubernetes.azure.com/cluster", "claimed"),
    ("aks", "provider", "azure:///subscriptions/s", "claimed"),
    ("oke", "label", "oci.oraclecloud.com/fault-domain", "claimed"),
    ("oke", "provider", "ocid1.instance.oc1.iad.x", "claimed"),
    ("oke", "provider", "oci://x", "claimed"),
    ("coreweave", "label", "node.coreweave.cloud/type", "claimed"),
    ("lke", "label", "lke.linode.com/pool-id", "claimed"),
    ("lke", "provider", "linode://1", "claimed"),
    ("coreweave", "provider", "coreweave://x", "claimed"),
    ("doks", "provider", "digitalocean://1", "claimed"),
    ("iks", "provider", "ibm://x", "claimed"),
    ("iks", "label", "ibm-cloud.kubernetes.io/zone", "claimed"),
    ("doks", "label", "doks.digitalocean.com/node-pool", "claimed"),
    ("iks", "version", "v1.31.1+IKS", "resolved"),
    ("nebius", "label", "nebius.com/node-group-id", "claimed"),
    ("nebius", "provider", "nebius://computeinstance-1", "claimed"),
    ("crusoe", "provider", "crusoe://1", "resolved"),
    ("ocp", "label", "node.openshift.io/os_id", "claimed"),
    ("ocp", "image", "Red Hat Enterprise Linux CoreOS 418.94.202501", "resolved"),
    ("rke2", "provider", "rke2://name", "resolved"),
    ("rke2", "version", "v1.31.2+rke2r1", "resolved"),
    ("k3s", "provider", "k3s://name", "resolved"),
    ("k3s", "version", "v1.31.2+k3s1", "resolved"),
    ("k0s", "version", "v1.31.2+k0s", "resolved"),
    ("kind", "provider", "kind://docker/kind/kind-worker", "resolved"),
    ("metal3", "provider", "metal3://x", "resolved"),
    ("openstack", "provider", "openstack:///2c7cecc3", "resolved"),
    ("vsphere", "provider", "vsphere://x", "resolved"),
    ("talos", "provider", "talos://x", "claimed"),
    ("talos", "label", "extensions.talos.dev/schematic", "claimed"),
    ("talos", "image", "Talos (v1.11.2)", "claimed"),
    ("forge", "provider", "forge://x", "claimed"),
    ("bcm", "provider", "bcm://x", "claimed"),
]


def _service(kind: str, text: str) -> list[object]:
    match kind:
        case "version":
            return list(version_observations(text, "k8s.kubeletVersion"))
        case "label":
            return list(service_labels({text: "x"}))
        case "image":
            return list(image_observations(text))
        case _:
            return list(provider_observations(text))


@pytest.mark.parametrize(("value", "kind", "text", "status"), SERVICE_SIGNS)
def test_services_sign_by_sign(value, kind, text, status):
    found = resolve_node(_service(kind, text), corroborate=True)
    assert (found.status, found.value) == (status, value)


def test_every_sign_of_every_service_is_tested():
    rows = {row["value"]: row for row in _raw("services")["rows"]}
    kinds = {
        "providerIds": "provider",
        "clouds": "provider",
        "kubelet": "version",
        "images": "image",
        "labels": "label",
    }
    wanted = {(value, kinds[key]) for value, row in rows.items() for key in kinds if row.get(key)}
    assert wanted == {(value, kind) for value, kind, _, _ in SERVICE_SIGNS}


@pytest.mark.parametrize("text", ["v1.36.3", "v1.34.2", "", "v1.30.0-rc.1", "v1.31.0+abcdef", "v1.31.0-seks-1"])
def test_plain_versions_say_nothing_about_the_service(text):
    assert list(version_observations(text, "k8s.kubeletVersion")) == []


SYSTEMS = [
    ("ubuntu", "24.04", "Ubuntu 24.04.3 LTS", "ubuntu", "24.04"),
    ("rhel", "9.4", "Red Hat Enterprise Linux 9.4 (Plow)", "rhel", "9.4"),
    ("rhcos", "418.94", "Red Hat Enterprise Linux CoreOS 418.94.202501221327-0", "rhcos", "418.94"),
    ("bottlerocket", "1.26.1", "Bottlerocket OS 1.26.1 (aws-k8s-1.31)", "bottlerocket", "1.26.1"),
    ("cos", "117", "Container-Optimized OS from Google", "cos", "117"),
    ("amzn", "2023", "Amazon Linux 2023.6.20250115", "amazonlinux", "2023"),
    ("ol", "8.10", "Oracle Linux Server 8.10", "ol", "8.10"),
    ("sles", "15.6", "SUSE Linux Enterprise Server 15 SP6", "sles", "15.6"),
    ("talos", "v1.11.2", "Talos (v1.11.2)", "talos", "v1.11.2"),
    ("flatcar", "4081.2.1", "Flatcar Container Linux by Kinvolk 4081.2.1 (Oklo)", "flatcar", "4081.2.1"),
    ("azurelinux", "3.0", "Microsoft Azure Linux 3.0", "azurelinux", "3.0"),
    ("debian", "12", "Debian GNU/Linux 12 (bookworm)", "debian", "12"),
]


@pytest.mark.parametrize(("release_id", "version", "image", "value", "shown"), SYSTEMS)
def test_operating_systems_row_by_row(release_id, version, image, value, shown):
    both = os_observations(release_id, version, image)
    assert {each.value for each in both[Aspect.OS]} == {value}
    assert {each.value for each in both[Aspect.OS_VERSION]} == {shown}
    alone = os_observations("", "", image)
    assert resolve_node(alone[Aspect.OS]).value == value
    assert resolve_node(alone[Aspect.OS]).tier == "T4"


def test_every_sourced_operating_system_is_tested():
    assert {row.value for row in operating_systems() if row.sourced} == {value for *_, value, _ in SYSTEMS}


@pytest.mark.parametrize(
    ("alias", "value"),
    [
        ("redhat", "rhel"),
        ("redhatenterpriselinux", "rhel"),
        ("al2", "amazonlinux"),
        ("al2023", "amazonlinux"),
        ("UBUNTU", "ubuntu"),
    ],
)
def test_aliases_of_operating_systems(alias, value):
    assert resolve_node(os_observations(alias, "", "")[Aspect.OS]).value == value


def test_an_unlisted_system_is_claimed_by_its_own_name():
    found = resolve_node(os_observations("rocky", "9.4", "")[Aspect.OS])
    assert (found.status, found.value) == ("claimed", "rocky")


def test_an_unsourced_row_is_claimed():
    found = resolve_node(os_observations("mariner", "2.0", "")[Aspect.OS])
    assert (found.status, found.value) == ("claimed", "azurelinux")


def test_the_reference_table_of_accelerators_is_covered(test_data):
    reference = json.loads((test_data / "gpu/sku-table.json").read_text())
    table = accelerators()
    for vendor, pci in (("nvidia", "10de"), ("amd", "1002")):
        for row in reference[vendor]:
            for device in row["pci"]:
                assert table.by_pci[(pci, device)].value == row["enum"]


def test_names_in_real_captures_are_known(test_data):
    captures = json.loads((test_data / "gpu/nvidia-real-captures-summary.json").read_text())
    assert len(captures) >= 7
    for value, capture in captures.items():
        assert accelerators().named(capture["product_name"]).value == value
        assert accelerators().by_pci[("10de", capture["pci_device_id"][:4].lower())].value == value
