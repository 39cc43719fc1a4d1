# SPDX-License-Identifier: Apache-2.0
"""The fingerprint as the `fingerprint:` block of a snapshot, and as AICR's eight members."""

from __future__ import annotations

from typing import Final

from evidencerun import limits
from evidencerun.fingerprint.model import Facet, Fingerprint, Status
from evidencerun.snapshot.report import UnknownReason
from evidencerun.snapshot.yaml_writer import Value

_ACCELERATOR_NOTES: Final = {
    UnknownReason.CONFLICT.value: "multi-gpu",
    UnknownReason.UNKNOWN_SKU.value: "unknown-sku",
}
_REGION_NOTES: Final = {UnknownReason.CONFLICT.value: "multi-region"}


def aicr_members(fingerprint: Fingerprint) -> dict[str, Value]:
    """Return AICR's eight members; a value is written only if it is resolved, notes in AICR's words."""
    system = _member(fingerprint.os, {})
    if fingerprint.os.resolved and fingerprint.os_version.resolved:
        system["version"] = fingerprint.os_version.value
    accelerator = _member(fingerprint.accelerator, _ACCELERATOR_NOTES)
    if fingerprint.trust.synthetic and fingerprint.accelerator.resolved:
        accelerator["note"] = "synthetic"
    return {
        "service": _member(fingerprint.service, {}),
        "accelerator": accelerator,
        "gpuModel": _member(fingerprint.gpu_model, {}),
        "os": system,
        "k8sVersion": _member(fingerprint.k8s_version, {}),
        "region": _member(fingerprint.region, _REGION_NOTES),
        "nodeCount": {"value": fingerprint.node_count},
        "gpuNodeCount": {"value": fingerprint.gpu_node_count},
    }


def _member(facet: Facet, notes: dict[str, str]) -> dict[str, Value]:
    member: dict[str, Value] = {"value": facet.value if facet.resolved else ""}
    if facet.resolved and facet.source:
        member["source"] = facet.source
    if facet.status is Status.UNKNOWN and facet.reason in notes:
        member["note"] = notes[facet.reason]
    return member


def fingerprint_block(fingerprint: Fingerprint) -> dict[str, Value]:
    """Return the whole block: AICR's members with our additions in them, then the dimensions that only we have."""
    block: dict[str, Value] = {}
    facets = {
        "service": fingerprint.service,
        "accelerator": fingerprint.accelerator,
        "gpuModel": fingerprint.gpu_model,
        "os": fingerprint.os,
        "k8sVersion": fingerprint.k8s_version,
        "region": fingerprint.region,
    }
    for name, member in aicr_members(fingerprint).items():
        if name in facets and isinstance(member, dict):
            extra = facets[name].to_dict()
            block[name] = {**member, **{key: value for key, value in extra.items() if key not in member}}
        else:
            block[name] = member
    block["osVersion"] = fingerprint.os_version.to_dict()
    block["kernel"] = fingerprint.kernel.to_dict()
    block["driver"] = fingerprint.driver.to_dict()
    block["machine"] = fingerprint.machine.to_dict()
    block["fabric"] = fingerprint.fabric.to_dict()
    block["coverage"] = _coverage(fingerprint)
    if fingerprint.zones:
        listed = list(fingerprint.zones.items())[: limits.SIGNALS_MAX]
        block["zones"] = [{"zone": zone, "nodes": nodes} for zone, nodes in listed]
        if len(fingerprint.zones) > limits.SIGNALS_MAX:
            block["moreZones"] = len(fingerprint.zones) - limits.SIGNALS_MAX
    block["trust"] = _trust(fingerprint)
    return block


def _coverage(fingerprint: Fingerprint) -> Value:
    scope = fingerprint.scope
    document: dict[str, Value] = {
        "targeted": scope.targeted,
        "reported": scope.reported,
        "machines": scope.machines,
        "minimumPercent": scope.minimum_percent,
        "markers": list(fingerprint.markers),
    }
    if scope.in_cluster:
        document["inCluster"] = scope.in_cluster
    return document


def _trust(fingerprint: Fingerprint) -> Value:
    document: dict[str, Value] = {
        "synthetic": fingerprint.trust.synthetic,
        "markers": list(fingerprint.trust.markers),
    }
    if fingerprint.trust.tier is not None:
        document["tier"] = fingerprint.trust.tier.value
    return document
