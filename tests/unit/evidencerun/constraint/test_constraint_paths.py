# SPDX-License-Identifier: Apache-2.0
"""What the name of a constraint stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.constraint import (
    ByField,
    ByIndex,
    ConstraintPath,
    SnapshotPath,
    UnknownPath,
    ValidatorInput,
    parse_path,
)
from evidencerun.constraint.path_catalog import SUBTYPES, VALIDATOR_INPUTS


def at(kind: str, subtype: str, key: str, **more: object) -> SnapshotPath:
    return SnapshotPath(type=kind, subtype=subtype, key=key, **more)  # type: ignore[arg-type]


PATHS: dict[str, ConstraintPath] = {
    "K8s.server.version": at("K8s", "server", "version"),
    "OS.release.ID": at("OS", "release", "ID"),
    "OS.sysctl./proc/sys/kernel/osrelease": at("OS", "sysctl", "/proc/sys/kernel/osrelease"),
    "OS.release.SOMETHING_NEW": at("OS", "release", "SOMETHING_NEW"),
    "GPU.smi.gpu.model": at("GPU", "smi", "gpu.model"),
    "NodeTopology.label.nvidia.com/gpu.present": at("NodeTopology", "label", "nvidia.com/gpu.present"),
    "NodeTopology.gpu-nodes.label": at("NodeTopology", "gpu-nodes", "label", gpu_node_labels=True),
    "SystemD.containerd.service.ActiveState": at("SystemD", "containerd.service", "ActiveState", filled=False),
    "NetworkTopology.pfs[3].model": at("NetworkTopology", "pfs", "model", selector=ByIndex(index=3), filled=False),
    "NetworkTopology.pfs[rail=0].model": at(
        "NetworkTopology", "pfs", "model", selector=ByField(key="rail", value="0"), filled=False
    ),
    "NodeTopology.label[key=a.b/c].node-count": at(
        "NodeTopology", "label", "node-count", selector=ByField(key="key", value="a.b/c")
    ),
    "nccl-all-reduce-bw": ValidatorInput(
        name="nccl-all-reduce-bw", phase="performance", checks=("nccl-all-reduce-bw",)
    ),
    "Deployment.gpu-operator.version": ValidatorInput(
        name="Deployment.gpu-operator.version", phase="deployment", checks=("gpu-operator-version",)
    ),
    "inference-model": ValidatorInput(
        name="inference-model", phase="performance", checks=("inference-perf",), bare=True
    ),
}
UNKNOWN = {
    "k8s.server.version": "K8s.server.version",
    "K8s.server.versoin": "K8s.server.version",
    "K8S.Server.Version": "K8s.server.version",
    "OS.relase.ID": "OS.release.ID",
    "gpu-operator.version": "Deployment.gpu-operator.version",
    "nccl-allreduce-bw": "nccl-all-reduce-bw",
    "OS.sysctrl./proc/sys/vm/swappiness": "OS.sysctl./proc/sys/vm/swappiness",
    "NodeTopology.lable.nvidia.com/gpu.present": "NodeTopology.label.nvidia.com/gpu.present",
    "something else": "",
    "": "",
    "OS": "",
    "OS.release": "OS.release.ID",
    "OS.release.": "OS.release.ID",
    "SystemD.containerd": "",
    "SystemD..x": "",
    "NetworkTopology.pfs[].model": "NetworkTopology.pfs.model",
    "NetworkTopology.pfs[=0].model": "NetworkTopology.pfs.model",
    "x" * 5000: "",
}


@pytest.mark.parametrize("name", PATHS)
def test_known_name(name: str) -> None:
    assert parse_path(name) == PATHS[name]


def test_one_path_only_is_about_the_labels_of_gpu_nodes() -> None:
    about_labels = [name for name, path in PATHS.items() if isinstance(path, SnapshotPath) and path.gpu_node_labels]
    assert about_labels == ["NodeTopology.gpu-nodes.label"]


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_name_gets_a_suggestion(name: str) -> None:
    assert parse_path(name) == UnknownPath(name=name, suggestion=UNKNOWN[name])


def test_every_name_of_the_catalogs_is_known() -> None:
    names = [f"{kind}.{sub}.{key}" for kind, subs in SUBTYPES.items() for sub, row in subs.items() for key in row.keys]

    assert not [name for name in names if not isinstance(parse_path(name), SnapshotPath)]
    assert all(isinstance(parse_path(name), ValidatorInput) for name in VALIDATOR_INPUTS)


@given(st.text(max_size=80) | st.from_regex(r"(OS|K8s|SystemD)\.[a-z.\[\]=]{0,20}"))
def test_any_name_is_answered(name: str) -> None:
    assert isinstance(parse_path(name), SnapshotPath | ValidatorInput | UnknownPath)
