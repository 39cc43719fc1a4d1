# SPDX-License-Identifier: Apache-2.0
"""What a node's PCI functions, product names, instance type and labels say about its accelerators.

The values are made here from what was read, never taken from the report's own words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from evidencerun.fingerprint.labels import GKE_ACCELERATOR, INSTANCE_TYPE, PRODUCTS
from evidencerun.fingerprint.model import NONE, Observation
from evidencerun.fingerprint.tables import Hit, accelerators, instance_types
from evidencerun.snapshot.report import (
    Dimension,
    Level,
    NodeReport,
    PciDevice,
    Signal,
    SourceState,
    Tier,
    UnknownReason,
)

PCI_SOURCE: Final = "pci"
"""Name of the source whose reading `none` stands on."""
NAME_SIGNALS: Final = ("nvml.name", "nvidia.proc-model")
"""Signals of the probe whose raw text is a list of product names with their numbers."""
KFD_SIGNAL: Final = "kfd.device"
"""The one whose raw text is a list of `vendor:device` with their numbers."""
GPU_RESOURCES: Final = ("nvidia.com/gpu", "amd.com/gpu")
_COUNT: Final = re.compile(r" x[0-9]+$")
_KINDS_MAX: Final = 32
"""Kinds of accelerators in one node; slots for devices number sixteen at most."""
_FLOOR: Final = {
    Level.API: Tier.CLOUD,
    Level.KERNEL: Tier.KERNEL,
    Level.VENDOR: Tier.DRIVER,
    Level.KERNEL_RUN: Tier.DRIVER,
    Level.COLLECTIVE: Tier.DRIVER,
}
"""The best tier of a level: what the probe says about its own trustworthiness goes no further."""


def bounded_tier(signal: Signal) -> Tier:
    """Return the signal's tier, no better than its level can give."""
    return max(signal.tier, _FLOOR[signal.level])


def pci_observations(report: NodeReport) -> Iterator[Observation]:
    """Yield one observation per kind of accelerator on PCI, one `none`, or one error."""
    reason = _pci_failure(report)
    if reason is not None:
        yield _pci("", error=reason)
        return
    kinds = Counter((device.vendor, device.device) for device in physical_accelerators(report.pci))
    if not kinds:
        yield _pci(f"{len(report.pci)} functions, no accelerator", value=NONE)
    for (vendor, device), number in sorted(kinds.items()):
        hit = accelerators().by_pci.get((vendor, device))
        raw = f"{vendor}:{device} x{number}"
        if hit is None:
            yield _pci(raw, error=UnknownReason.UNKNOWN_SKU)
        else:
            yield _pci(raw, value=hit.value, sourced=hit.sourced)


def physical_accelerators(devices: list[PciDevice]) -> list[PciDevice]:
    """Return the accelerators among PCI functions; a virtual function beside its physical one counts for nothing."""
    table = accelerators()
    return [
        device
        for device in devices
        if device.physical_function and table.is_accelerator(device.vendor, device.class_code)
    ]


def boards(report: NodeReport) -> dict[str, int]:
    """Return the number of boards per accelerator; unknown ids are counted as `vendor:device`."""
    table = accelerators()
    functions: Counter[str] = Counter()
    for device in physical_accelerators(report.pci):
        hit = table.by_pci.get((device.vendor, device.device))
        functions[hit.value if hit else f"{device.vendor}:{device.device}"] += 1
    return {value: -(-number // table.per_board.get(value, 1)) for value, number in functions.items()}


def _pci_failure(report: NodeReport) -> UnknownReason | None:
    """Return why the PCI functions of a node are not known, None if they are."""
    results = [source for source in report.sources if source.name == PCI_SOURCE]
    if not results:
        return UnknownReason.NOT_COLLECTED
    if all(source.state is SourceState.READ for source in results):
        return None
    stated = next(source.reason for source in results if source.state is not SourceState.READ)
    # The probe writes the word first and then what happened: "permission: PermissionError: …".
    reason = stated.partition(":")[0].strip()
    return UnknownReason(reason) if reason in set(UnknownReason) else UnknownReason.UNREADABLE


def _pci(raw: str, *, value: str = "", sourced: bool = True, error: UnknownReason | None = None) -> Observation:
    return Observation(
        id="pci.device",
        tier=Tier.KERNEL,
        level=Level.KERNEL,
        raw=raw,
        value=value,
        sourced=sourced,
        family="pci",
        error=error,
    )


def named_observation(signal_id: str, name: str, tier: Tier, level: Level) -> Observation:
    """Return what a product name says; a name outside the table is an unknown SKU."""
    hit = accelerators().named(name)
    return hit_observation(signal_id, name, hit, tier, level)


def hit_observation(signal_id: str, raw: str, hit: Hit | None, tier: Tier, level: Level) -> Observation:
    """Return the observation of a table's answer; no answer is an unknown SKU."""
    return Observation(
        id=signal_id,
        tier=tier,
        level=level,
        raw=raw,
        value=hit.value if hit else "",
        sourced=hit.sourced if hit else True,
        family=signal_id,
        error=None if hit else UnknownReason.UNKNOWN_SKU,
    )


def vendor_observations(report: NodeReport) -> Iterator[Observation]:
    """Yield what the vendor's library, the driver and KFD said, by product name or PCI id."""
    for signal in report.signals.get(Dimension.ACCELERATOR, []):
        if signal.id not in (*NAME_SIGNALS, KFD_SIGNAL):
            continue
        tier = bounded_tier(signal)
        if signal.error is not None:
            yield Observation(
                id=signal.id, tier=tier, level=signal.level, raw=signal.raw, family=signal.id, error=signal.error
            )
            continue
        for text in uncounted(signal.raw):
            if signal.id == KFD_SIGNAL:
                hit = accelerators().by_pci.get(_pair(text))
                yield hit_observation(signal.id, text, hit, tier, signal.level)
            else:
                yield named_observation(signal.id, text, tier, signal.level)


def uncounted(raw: str) -> list[str]:
    """Return the different values of `a x2, b x1`; a text of more kinds than a node can have is taken as one."""
    found = sorted({_COUNT.sub("", part) for part in raw.split(", ") if part})
    return found if len(found) <= _KINDS_MAX else [raw]


def _pair(text: str) -> tuple[str, str]:
    vendor, _, device = text.partition(":")
    return vendor, device


def label_observations(labels: Mapping[str, str]) -> Iterator[Observation]:
    """Yield what instance type and labels say. Anyone may write a label, a cloud writes the instance type."""
    if (kind := labels.get(INSTANCE_TYPE)) and (hit := instance_types().find(kind)):
        yield hit_observation("k8s.instance-type", kind, hit, Tier.CLOUD, Level.API)
    if label := labels.get(GKE_ACCELERATOR):
        hit = instance_types().gke.get(label)
        yield hit_observation(f"label.{GKE_ACCELERATOR}", label, hit, Tier.LABEL, Level.API)
    for key in PRODUCTS:
        if label := labels.get(key):
            yield named_observation(f"label.{key}", label, Tier.LABEL, Level.API)
