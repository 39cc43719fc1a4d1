# SPDX-License-Identifier: Apache-2.0
"""The machine's own words about itself: the world-readable part of /sys/class/dmi/id. Serials are root's, and stay."""

from __future__ import annotations

from typing import Final

from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Reading, SourceAbsentError, SourceFailedError, kernel_signal
from evidencerun.snapshot.report import Dimension, Scalar, UnknownReason

_FOLDER: Final = "sys/class/dmi/id"
_FIELDS: Final = (
    "sys_vendor",
    "product_name",
    "product_version",
    "product_family",
    "board_vendor",
    "board_name",
    "bios_vendor",
    "bios_version",
    "bios_date",
    "chassis_vendor",
    "chassis_asset_tag",
)
_SIGNALS: Final = (
    (Dimension.SERVICE, "dmi.vendor", ("sys_vendor",)),
    (Dimension.SERVICE, "dmi.asset-tag", ("chassis_asset_tag",)),
    (Dimension.MACHINE, "dmi.product", ("product_name",)),
    (Dimension.MACHINE, "dmi.board", ("board_vendor", "board_name")),
    (Dimension.MACHINE, "dmi.bios", ("bios_vendor", "bios_version")),
)


def read_dmi(tree: HostTree) -> Reading:
    """Return measurement OS.dmi and the signals `dmi.*`. Absent on machines without DMI (many arm64, microVMs)."""
    if not tree.exists(_FOLDER):
        raise SourceAbsentError(UnknownReason.NOT_APPLICABLE, f"/{_FOLDER} does not exist")
    fields: dict[str, Scalar] = {}
    for name in _FIELDS:
        text = tree.text_or(f"{_FOLDER}/{name}").strip()
        if text:
            fields[name] = text
    if not fields:
        raise SourceFailedError(UnknownReason.UNREADABLE, f"no field under /{_FOLDER} can be read")
    signals = []
    for dimension, signal_id, names in _SIGNALS:
        value = " ".join(str(fields[name]) for name in names if name in fields)
        if value:
            signals.append((dimension, kernel_signal(signal_id, value, value)))
    return Reading(signals=tuple(signals), measurements={"OS.dmi": fields})
