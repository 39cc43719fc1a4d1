# SPDX-License-Identifier: Apache-2.0
"""Static local volumes that become usable again: a released one is wiped and offered anew.

Kubernetes has no provisioner for local volumes. A small process of the host does that part, so that
claims can be made and deleted as on a cluster with dynamic volumes, as long as no more than the offered number are
in use at a time.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from evidencelocal import api, node
from evidencelocal.settings import VOLUME_COUNT, VOLUMES_PATH, ClusterError, Settings
from evidencelocal.shell import say

STORAGE_CLASS = "local"
_LABEL = "evidencerun.dev/local-volume"
_PATH = "/api/v1/persistentvolumes"
_INTERVAL = 2.0


def _directory(settings: Settings, number: int, name: str) -> Path:
    return settings.node_dir(number) / f"bind{VOLUMES_PATH}" / name


def _object(settings: Settings, number: int, name: str) -> dict[str, Any]:
    hostname = {
        "key": "kubernetes.io/hostname",
        "operator": "In",
        "values": [settings.node_name(number)],
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {_LABEL: str(number)}},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": f"{VOLUMES_PATH}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
        },
    }


def offered(settings: Settings, nodes: int) -> list[dict[str, Any]]:
    """The volumes of a cluster of `nodes` nodes, with their directories made: 12 in all, at least 4 on each."""
    volumes = []
    for number in range(1, nodes + 1):
        for index in range(1, max(4, VOLUME_COUNT // nodes) + 1):
            name = f"local-{settings.node_name(number)}-{index}"
            _directory(settings, number, name).mkdir(parents=True, exist_ok=True)
            volumes.append(_object(settings, number, name))
    return volumes


def _await_gone(settings: Settings, name: str) -> bool:
    """Whether a deleted volume object is really gone within ten seconds."""
    for _ in range(50):
        if api.call(settings, "GET", f"{_PATH}/{name}")[0] == 404:
            return True
        time.sleep(0.2)
    return False


def _renew(settings: Settings, number: int, name: str) -> None:
    api.call(settings, "DELETE", f"{_PATH}/{name}")
    if not _await_gone(settings, name):
        say(f"volume {name} is still being deleted; trying again later")
        return
    shutil.rmtree(_directory(settings, number, name), ignore_errors=True)
    _directory(settings, number, name).mkdir(parents=True)
    status, answer = api.call(settings, "POST", _PATH, _object(settings, number, name))
    say(f"volume {name} is offered again" if status == 201 else f"volume {name}: {answer.get('message')}")


def renew_released(settings: Settings) -> None:
    """One pass: offer every volume anew whose claim is gone."""
    _, answer = api.call(settings, "GET", f"{_PATH}?labelSelector={_LABEL}")
    for item in answer.get("items", []):
        if item["status"].get("phase") in ("Released", "Failed"):
            _renew(settings, int(item["metadata"]["labels"][_LABEL]), item["metadata"]["name"])


def keep(settings: Settings) -> None:
    """Offer released volumes again, for ever; faults of the API server are survived."""
    while True:
        try:
            renew_released(settings)
            _replace_lost(settings)
        except ClusterError as error:
            say(str(error))
        time.sleep(_INTERVAL)


def _replace_lost(settings: Settings) -> None:
    """Create volume objects that were deleted by hand or between the two steps of a renewal."""
    _, answer = api.call(settings, "GET", f"{_PATH}?labelSelector={_LABEL}")
    present = {item["metadata"]["name"] for item in answer.get("items", [])}
    for volume in offered(settings, len(node.existing(settings))):
        if volume["metadata"]["name"] not in present:
            api.call(settings, "POST", _PATH, volume)
