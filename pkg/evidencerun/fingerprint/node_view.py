# SPDX-License-Identifier: Apache-2.0
"""One node, or several equal ones, as the resolution sees it: observations per dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from evidencerun.fingerprint.model import Observation


class Aspect(StrEnum):
    """The dimensions that are resolved node by node."""

    SERVICE = "service"
    ACCELERATOR = "accelerator"
    GPU_MODEL = "gpuModel"
    OS = "os"
    OS_VERSION = "osVersion"
    REGION = "region"
    KERNEL = "kernel"
    DRIVER = "driver"
    MACHINE = "machine"
    FABRIC = "fabric"


Observations = Mapping[Aspect, tuple[Observation, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node.

    `machine` is the same text for nodes that share a kernel. `devices` counts accelerators per value. `weight` is how
    many equal nodes this one stands for; it is more than 1 only if a snapshot alone is read.
    """

    machine: str
    reported: bool
    observations: Observations
    devices: Mapping[str, int] = field(default_factory=dict)
    zone: str = ""
    markers: tuple[str, ...] = ()
    weight: int = 1
