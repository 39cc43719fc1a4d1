# SPDX-License-Identifier: Apache-2.0
"""Observations from a snapshot alone, without nodes.json.

AICR's agent looks at one node and asks the API for the labels of all; the nodes it did not look at stay unknown. Our
own snapshots state how many nodes reported, and hold the values on which they agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from evidencerun.fingerprint import accelerator_signals as accelerator
from evidencerun.fingerprint import service_signals as service
from evidencerun.fingerprint.labels import GFD_PRODUCT, REGION, ZONE
from evidencerun.fingerprint.model import NONE, Facet, Observation
from evidencerun.fingerprint.node_view import Aspect, NodeView, Observations
from evidencerun.fingerprint.os_signals import os_observations
from evidencerun.fingerprint.tables import Hit, accelerators
from evidencerun.snapshot.coverage import coverage_of
from evidencerun.snapshot.document import Snapshot
from evidencerun.snapshot.reading import spelled
from evidencerun.snapshot.report import Level, Tier, UnknownReason
from evidencerun.snapshot.topology import labels_by_node

_PCI_SOURCES: Final = frozenset({"nfd", "pci", "sysfs", ""})
_OF_ONE_NODE: Final = (("K8s", "node"), ("OS", "release"), ("GPU", "hardware"), ("GPU", "smi"))
"""What AICR's agent reads on the node where it runs."""
_SCHEMES: Final = {"eks": "aws://", "gke": "gce://", "aks": "azure://", "oke": "oci://"}
"""The clouds behind AICR's words for them: the word alone does not prove the service."""


def snapshot_views(snapshot: Snapshot) -> list[NodeView]:
    """Return the nodes that a snapshot speaks for; one view may stand for several equal nodes."""
    stated = coverage_of(snapshot)
    if stated is not None:
        # Nodes of one machine see the same devices: they are counted per machine.
        looked_at = _looked_at(snapshot, {}, weight=stated.reported, machines=min(stated.machines, stated.reported))
        views = [looked_at] if stated.reported else []
        return views + _unheard(stated.targeted - stated.reported)
    labels, _ = labels_by_node(snapshot.subtypes("NodeTopology", "label"))
    if not _holds_a_node(snapshot):
        seen = [_labelled(name, labels[name]) for name in sorted(labels)]
    else:
        sampled = _source_node(snapshot)
        seen = [_looked_at(snapshot, labels.get(sampled, {}))]
        seen += [_labelled(name, labels[name]) for name in sorted(labels) if name != sampled]
    count = snapshot.scalar("NodeTopology", "summary", "node-count")
    missing = count - len(seen) if isinstance(count, int) else 0
    return seen + _unheard(missing)


def snapshot_gpu_nodes(snapshot: Snapshot, facet: Facet) -> int:
    """Return how many nodes carry GPUs: by AICR's rule those with GFD's product label, else those found."""
    labels, _ = labels_by_node(snapshot.subtypes("NodeTopology", "label"))
    labelled = sum(GFD_PRODUCT in found for found in labels.values())
    return labelled or sum(count.nodes for value, count in facet.values.items() if value != NONE)


def _unheard(number: int) -> list[NodeView]:
    if number <= 0:
        return []
    error = Observation(
        id="not-looked-at",
        tier=Tier.KERNEL,
        level=Level.KERNEL,
        raw="",
        error=UnknownReason.NOT_REPORTED,
    )
    silent: Observations = {aspect: (error,) for aspect in Aspect if aspect is not Aspect.REGION}
    return [NodeView(machine="others", reported=False, observations=silent, weight=number)]


def _labelled(name: str, labels: dict[str, str]) -> NodeView:
    """Return a node of which only labels are known."""
    (unheard,) = _unheard(1)
    observations = dict(unheard.observations)
    observations[Aspect.ACCELERATOR] += tuple(accelerator.label_observations(labels))
    observations[Aspect.SERVICE] = tuple(service.label_observations(labels)) or observations[Aspect.SERVICE]
    observations[Aspect.REGION] = tuple(_region(labels))
    return NodeView(machine=f"name:{name}", reported=False, observations=observations, zone=labels.get(ZONE, ""))


def _looked_at(snapshot: Snapshot, labels: dict[str, str], weight: int = 1, machines: int = 1) -> NodeView:
    release = {key: _texts(snapshot, "OS", "release", key) for key in ("ID", "VERSION_ID")}
    images = _texts(snapshot, "K8s", "node", "os-image") or [""]
    systems: dict[Aspect, tuple[Observation, ...]] = {Aspect.OS: (), Aspect.OS_VERSION: ()}
    for name in release["ID"] or [""]:
        for version in release["VERSION_ID"] or [""]:
            for image in images:
                for aspect, found in os_observations(name, version, image).items():
                    systems[aspect] = tuple(dict.fromkeys((*systems[aspect], *found)))
    observations: dict[Aspect, tuple[Observation, ...]] = {
        Aspect.SERVICE: tuple(_service(snapshot, labels)),
        Aspect.ACCELERATOR: (*_accelerator(snapshot), *accelerator.label_observations(labels)),
        **systems,
        Aspect.GPU_MODEL: tuple(_models(snapshot)),
        Aspect.KERNEL: (
            *_plain(snapshot, "OS.sysctl./proc/sys/kernel/osrelease", Tier.KERNEL),
            *_plain(snapshot, "K8s.node.kernel-version", Tier.CLOUD),
        ),
        Aspect.DRIVER: tuple(_plain(snapshot, "GPU.smi.driver", Tier.DRIVER)),
        Aspect.REGION: tuple(_region(labels)),
    }
    count = snapshot.scalar("GPU", "hardware", "gpu-count") or snapshot.scalar("GPU", "smi", "gpu-count")
    values = {each.value for each in observations[Aspect.ACCELERATOR] if each.value not in ("", NONE)}
    devices = {value: count * machines for value in values if isinstance(count, int)}
    return NodeView(
        machine="looked-at",
        reported=True,
        observations=observations,
        devices=devices,
        zone=labels.get(ZONE, ""),
        weight=weight,
    )


def _texts(snapshot: Snapshot, kind: str, name: str, key: str) -> list[str]:
    """Return the values at an address: one, or all those on which nodes disagree."""
    found: dict[str, None] = {}
    for subtype in snapshot.subtypes(kind, name):
        if key in subtype.data:
            found[spelled(subtype.data[key])] = None
        found.update({item.context.get("value", ""): None for item in subtype.conflicts(key)})
    return [text for text in found if text]


def _plain(snapshot: Snapshot, path: str, tier: Tier) -> Iterator[Observation]:
    kind, name, key = path.split(".", 2)
    level = {Tier.KERNEL: Level.KERNEL, Tier.DRIVER: Level.VENDOR}.get(tier, Level.API)
    for text in _texts(snapshot, kind, name, key):
        yield Observation(id=path, tier=tier, level=level, raw=text, value=text, family=path)


def _service(snapshot: Snapshot, labels: dict[str, str]) -> Iterator[Observation]:
    provider_ids = _texts(snapshot, "K8s", "node", "provider-id")
    if not provider_ids:
        words = _texts(snapshot, "K8s", "node", "provider")
        provider_ids = [_SCHEMES.get(word, f"{word}://") for word in words]
    for provider_id in provider_ids:
        yield from service.provider_observations(provider_id)
    versions = _texts(snapshot, "K8s", "node", "kubelet-version")
    for version in versions:
        yield from service.version_observations(version, "k8s.kubeletVersion")
    if not versions:
        for version in _texts(snapshot, "K8s", "server", "version"):
            yield from service.version_observations(version, "k8s.server.version")
    for image in _texts(snapshot, "K8s", "node", "os-image"):
        yield from service.image_observations(image)
    yield from service.label_observations(labels)


def _accelerator(snapshot: Snapshot) -> Iterator[Observation]:
    yield from _hardware(snapshot)
    for name in _texts(snapshot, "GPU", "smi", "gpu.model"):
        yield accelerator.named_observation("GPU.smi.gpu.model", name, Tier.DRIVER, Level.VENDOR)
    if not list(snapshot.subtypes("GPU", "hardware")) and snapshot.scalar("GPU", "smi", "gpu-count") == 0:
        # AICR's agent writes 0 when it has not found nvidia-smi.
        yield Observation(
            id="GPU.smi.gpu-count",
            tier=Tier.DRIVER,
            level=Level.VENDOR,
            raw="0",
            family="GPU.smi",
            error=UnknownReason.NO_DRIVER,
        )


def _hardware(snapshot: Snapshot) -> Iterator[Observation]:
    models = _texts(snapshot, "GPU", "hardware", "model")
    known = {hit.value: hit for hit in accelerators().by_pci.values()}
    for model in models:
        hit = known.get(model.lower()) or accelerators().named(model)
        yield accelerator.hit_observation("GPU.hardware.model", model, hit, Tier.KERNEL, Level.KERNEL)
    present = _texts(snapshot, "GPU", "hardware", "gpu-present")
    read = all(source in _PCI_SOURCES for source in _texts(snapshot, "GPU", "hardware", "detection-source"))
    for text in present:
        if text == "false" and read:
            none = Hit(value=NONE, sourced=True)
            yield accelerator.hit_observation("GPU.hardware.gpu-present", text, none, Tier.KERNEL, Level.KERNEL)
        elif text == "true" and not models:
            yield accelerator.hit_observation("GPU.hardware.gpu-present", text, None, Tier.KERNEL, Level.KERNEL)


def _models(snapshot: Snapshot) -> Iterator[Observation]:
    yield from _plain(snapshot, "GPU.hardware.model", Tier.KERNEL)
    yield from _plain(snapshot, "GPU.smi.gpu.model", Tier.DRIVER)


def _region(labels: dict[str, str]) -> Iterator[Observation]:
    if region := labels.get(REGION):
        yield Observation(
            id=f"label.{REGION}", tier=Tier.CLOUD, level=Level.API, raw=region, value=region, family="region"
        )


def _holds_a_node(snapshot: Snapshot) -> bool:
    return any(list(snapshot.subtypes(*address)) for address in _OF_ONE_NODE)


def _source_node(snapshot: Snapshot) -> str:
    named = snapshot.scalar("K8s", "node", "source-node")
    return str(named or snapshot.metadata.get("source-node") or snapshot.metadata.get("source") or "")
