# SPDX-License-Identifier: Apache-2.0
"""What one node is: the facts of its Node object (L0) and the report of its probe (L1 and above).

Shape: docs/spec. The wire form is camelCase JSON; unknown members are refused, because a report is
signed as it came.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Text = Annotated[str, Field(max_length=4096)]
Scalar = bool | int | float | Text

REPORT_SCHEMA: Final = "https://evidencerun.dev/schemas/node-report/v1"


class Level(StrEnum):
    """Depth of a signal: what had to work for it to be read."""

    API = "L0"
    """The Kubernetes API alone."""
    KERNEL = "L1"
    """PCI, KFD, /proc, DMI: no privilege, no driver."""
    VENDOR = "L2"
    """The vendor's library: NVML, amd-smi."""
    KERNEL_RUN = "L3"
    """A short kernel that ran."""
    COLLECTIVE = "L4"
    """A collective operation that ran."""


class Tier(StrEnum):
    """Who could forge a signal, strongest first."""

    SIGNED = "T1"
    """Signed by hardware or by the cloud."""
    KERNEL = "T2"
    """The kernel's word: root on the node can forge it."""
    DRIVER = "T3"
    """The vendor's user space: whoever controls the injected library."""
    CLOUD = "T4"
    """Written by a cloud controller: an administrator of node or cluster."""
    LABEL = "T5"
    """Anyone who may patch nodes."""


class Dimension(StrEnum):
    """What a signal speaks about."""

    ACCELERATOR = "accelerator"
    OS = "os"
    KERNEL = "kernel"
    DRIVER = "driver"
    FABRIC = "fabric"
    SERVICE = "service"
    MACHINE = "machine"


class UnknownReason(StrEnum):
    """Why a value is unknown; never written as 0, as an empty string or as `any`."""

    NO_DRIVER = "no_driver"
    PERMISSION = "permission"
    TIMEOUT = "timeout"
    SANDBOXED = "sandboxed"
    OLD_DRIVER = "old_driver"
    DRIVER_MISMATCH = "driver_mismatch"
    DEVICE_ACCESS = "device_access"
    NOT_SCHEDULED = "not_scheduled"
    NODE_NOT_READY = "node_not_ready"
    NOT_REPORTED = "not_reported"
    UNKNOWN_SKU = "unknown_sku"
    CONFLICT = "conflict"
    NOT_COLLECTED = "not_collected"
    UNREADABLE = "unreadable"
    NOT_APPLICABLE = "not_applicable"


class _Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )


class Signal(_Wire):
    """One observation: `raw` as it was read, `value` as it is understood, or `error` with the reason."""

    id: Annotated[str, Field(max_length=128)]
    tier: Tier
    level: Level
    raw: Text = ""
    value: Text = ""
    error: UnknownReason | None = None


class PciDevice(_Wire):
    """One PCI function, from /sys/bus/pci/devices. Ids are four lowercase hex digits, `class_code` is six."""

    address: Annotated[str, Field(max_length=32)]
    vendor: Annotated[str, Field(max_length=8)]
    device: Annotated[str, Field(max_length=8)]
    class_code: Annotated[str, Field(max_length=8)]
    subsystem: Annotated[str, Field(max_length=16)] = ""
    driver: Annotated[str, Field(max_length=64)] = ""
    physical_function: bool = True


class SourceState(StrEnum):
    """How the reading of one source ended."""

    READ = "read"
    ABSENT = "absent"
    FAILED = "failed"


class SourceResult(_Wire):
    """One source that the probe tried. A source that was not tried does not stand in the list."""

    name: Annotated[str, Field(max_length=64)]
    level: Level
    state: SourceState
    reason: Text = ""
    milliseconds: Annotated[int, Field(ge=0)] = 0


class ProbeInfo(_Wire):
    """Which probe spoke, how deep it got and by which way it reached the devices."""

    version: Annotated[str, Field(max_length=64)]
    level: Level
    access: Annotated[str, Field(max_length=32)]


class NodeReport(_Wire):
    """The report of one probe pod.

    `measurements` maps `Type.Subtype` of AICR's snapshot (`OS.release`, `OS.sysctl`, `OS.kmod`, `OS.grub`,
    `GPU.hardware`, `GPU.smi`) to flat key/value maps. `boot_id` is the kernel's, equal on nodes that share a kernel.
    Identifiers of hardware (UUIDs, serials) are hashed by the probe before they leave the node.
    """

    report_schema: Annotated[Literal["https://evidencerun.dev/schemas/node-report/v1"], Field(alias="schema")] = (
        REPORT_SCHEMA
    )
    run_uid: Annotated[str, Field(max_length=64)]
    node_name: Annotated[str, Field(max_length=253)]
    boot_id: Annotated[str, Field(max_length=64)]
    probe: ProbeInfo
    started_at: Annotated[str, Field(max_length=32)]
    finished_at: Annotated[str, Field(max_length=32)]
    sources: Annotated[list[SourceResult], Field(max_length=64)]
    signals: dict[Dimension, Annotated[list[Signal], Field(max_length=64)]]
    measurements: dict[Annotated[str, Field(max_length=64)], dict[Text, Scalar]]
    pci: Annotated[list[PciDevice], Field(max_length=4096)]
    markers: Annotated[list[Text], Field(max_length=32)] = []
    """Explicit signs of simulation (`M1` … of the trust rules), each one enough for `synthetic`."""


class NodeFacts(_Wire):
    """L0: what the Node object says, taken by the operator when the plan is frozen. Labels are an allow-list."""

    uid: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(max_length=253)]
    pool: Annotated[str, Field(max_length=63)]
    provider_id: Text = ""
    architecture: Text = ""
    boot_id: Text = ""
    machine_id: Text = ""
    system_uuid: Text = ""
    kernel_version: Text = ""
    os_image: Text = ""
    operating_system: Text = ""
    container_runtime_version: Text = ""
    kubelet_version: Text = ""
    ready: bool = False
    unschedulable: bool = False
    labels: dict[Text, Text] = {}
    capacity: dict[Text, Text] = {}
    """Extended resources only (`nvidia.com/gpu`, `amd.com/gpu` …)."""
