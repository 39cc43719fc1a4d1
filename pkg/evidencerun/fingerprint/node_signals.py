# SPDX-License-Identifier: Apache-2.0
"""Turns one entry of nodes.json into observations: the facts of the Node object, and the report where one came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from evidencerun.fingerprint import accelerator_signals as accelerator
from evidencerun.fingerprint import service_signals as service
from evidencerun.fingerprint.labels import KWOK, REGION, ZONE
from evidencerun.fingerprint.model import Observation
from evidencerun.fingerprint.node_view import Aspect, NodeView
from evidencerun.fingerprint.os_signals import os_observations
from evidencerun.snapshot.nodes import NodeEntry
from evidencerun.snapshot.report import Dimension, Level, Tier, UnknownReason

_IDENTITIES: Final = frozenset({"kernel.boot-id"})
"""Signals that tell machines apart and say nothing about what they are."""
_SIMULATED_KERNEL: Final = "6.1.0-fake"
_CONTAINER_NODES: Final = ("kind://", "k3s://")


def node_view(entry: NodeEntry) -> NodeView:
    """Return what is known about one target node."""
    facts, report = entry.facts, entry.heard
    release = report.measurements.get("OS.release", {}) if report else {}
    observations: dict[Aspect, tuple[Observation, ...]] = {
        Aspect.SERVICE: tuple(_service(entry)),
        Aspect.ACCELERATOR: tuple(_accelerator(entry)),
        **os_observations(str(release.get("ID", "")), str(release.get("VERSION_ID", "")), facts.os_image),
        Aspect.KERNEL: (
            *_reported(entry, Dimension.KERNEL, "kernel.release"),
            *_fact("k8s.kernelVersion", facts.kernel_version),
        ),
        Aspect.REGION: tuple(_fact(f"label.{REGION}", facts.labels.get(REGION, ""))),
        Aspect.GPU_MODEL: tuple(_models(entry)),
        Aspect.DRIVER: tuple(_reported(entry, Dimension.DRIVER, "nvml.driver", "nvidia.module", "amdgpu.module")),
        Aspect.MACHINE: tuple(_reported(entry, Dimension.MACHINE, "dmi.product")),
        Aspect.FABRIC: tuple(_reported(entry, Dimension.FABRIC)),
    }
    return NodeView(
        machine=entry.machine,
        reported=report is not None,
        observations=observations,
        devices=accelerator.boards(report) if report else {},
        zone=facts.labels.get(ZONE, ""),
        markers=tuple(_markers(entry)),
    )


def unheard_reason(entry: NodeEntry) -> UnknownReason:
    """Return why a node without report has none, in the words of the fingerprint."""
    return UnknownReason(entry.reason) if entry.reason in set(UnknownReason) else UnknownReason.NOT_REPORTED


def _service(entry: NodeEntry) -> Iterator[Observation]:
    facts = entry.facts
    yield from service.provider_observations(facts.provider_id)
    yield from service.version_observations(facts.kubelet_version, "k8s.kubeletVersion")
    yield from service.image_observations(facts.os_image)
    yield from service.label_observations(facts.labels)
    if entry.heard is not None:
        # DMI names the maker of the machine, which no table turns into a service.
        yield from _reported(entry, Dimension.SERVICE)


def _accelerator(entry: NodeEntry) -> Iterator[Observation]:
    if entry.heard is None:
        yield _unheard("pci.device", entry)
    else:
        yield from accelerator.pci_observations(entry.heard)
        yield from accelerator.vendor_observations(entry.heard)
    yield from accelerator.label_observations(entry.facts.labels)


def _reported(entry: NodeEntry, dimension: Dimension, *deciding: str) -> Iterator[Observation]:
    """Yield the probe's signals of a dimension that no table interprets.

    Those named as `deciding` are the value itself; the others describe and are only listed.
    """
    if entry.heard is None:
        yield _unheard(f"{dimension}.report", entry)
        return
    for signal in entry.heard.signals.get(dimension, []):
        if signal.id in _IDENTITIES:
            continue
        decides = signal.id in deciding and signal.error is None
        yield Observation(
            id=signal.id,
            tier=accelerator.bounded_tier(signal),
            level=signal.level,
            raw=signal.raw,
            value=(signal.value or signal.raw) if decides else "",
            family=signal.id,
            error=signal.error,
        )


def _models(entry: NodeEntry) -> Iterator[Observation]:
    if entry.heard is None:
        yield _unheard("gpu.model", entry)
        return
    for signal in entry.heard.signals.get(Dimension.ACCELERATOR, []):
        if signal.id not in accelerator.NAME_SIGNALS or signal.error is not None:
            continue
        for name in accelerator.uncounted(signal.raw):
            yield Observation(
                id=signal.id,
                tier=accelerator.bounded_tier(signal),
                level=signal.level,
                raw=name,
                value=name,
                family=signal.id,
            )


def _fact(signal_id: str, value: str) -> Iterator[Observation]:
    if value:
        yield Observation(id=signal_id, tier=Tier.CLOUD, level=Level.API, raw=value, value=value, family=signal_id)


def _unheard(signal_id: str, entry: NodeEntry) -> Observation:
    return Observation(
        id=signal_id, tier=Tier.KERNEL, level=Level.KERNEL, raw="", family="report", error=unheard_reason(entry)
    )


def _markers(entry: NodeEntry) -> Iterator[str]:
    """Yield the signs of simulation: the probe's own, and those that the Node object shows."""
    facts = entry.facts
    if entry.heard is not None:
        yield from entry.heard.markers
    if facts.kernel_version == _SIMULATED_KERNEL or facts.labels.get(KWOK) == "kwok":
        yield "M1"
    claims_gpus = any(facts.capacity.get(name, "0") not in ("", "0") for name in accelerator.GPU_RESOURCES)
    in_container = facts.provider_id.startswith(_CONTAINER_NODES)
    if claims_gpus and in_container and entry.heard and not accelerator.physical_accelerators(entry.heard.pci):
        yield "M5"
