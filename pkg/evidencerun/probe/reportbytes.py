# SPDX-License-Identifier: Apache-2.0
"""Makes the report of a node out of what its sources gave, and the bytes that go to the store. Pure."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evidencerun import limits
from evidencerun.errors import ProbeError
from evidencerun.probe.collect import Collected
from evidencerun.snapshot.report import (
    Dimension,
    Level,
    NodeReport,
    ProbeInfo,
    Scalar,
    Signal,
    SourceResult,
    SourceState,
)

_GIVEN_UP_FIRST: Final = ("OS.sysctl", "OS.kmod", "GPU.nvml")
"""If a report is too large for the store, these go, in this order, and the source says so."""
_SOURCE_OF: Final = {"OS.sysctl": "sysctl", "OS.kmod": "kmod", "GPU.nvml": "nvml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportHead:
    """Who reports about which node in which run."""

    run_uid: str
    node_name: str
    version: str
    access: str
    started_at: str
    finished_at: str


def make_report(head: ReportHead, collected: Sequence[Collected]) -> NodeReport:
    """Return the report; the model checks every bound that the store will check."""
    signals: dict[Dimension, list[Signal]] = defaultdict(list)
    measurements: dict[str, dict[str, Scalar]] = {}
    for item in collected:
        for dimension, signal in item.reading.signals:
            signals[dimension].append(signal)
        for name, values in item.reading.measurements.items():
            measurements.setdefault(name, {}).update(values)
    deepest = max((item.result.level for item in collected if item.result.state is SourceState.READ), default=None)
    return NodeReport(
        run_uid=head.run_uid,
        node_name=head.node_name,
        boot_id=next((item.reading.boot_id for item in collected if item.reading.boot_id), ""),
        probe=ProbeInfo(version=head.version, level=deepest or Level.KERNEL, access=head.access),
        started_at=head.started_at,
        finished_at=head.finished_at,
        sources=[item.result for item in collected],
        signals=dict(signals),
        measurements=measurements,
        pci=[device for item in collected for device in item.reading.pci],
        markers=[marker for item in collected for marker in item.reading.markers],
    )


def report_bytes(report: NodeReport) -> bytes:
    """Return compact JSON in camelCase; these bytes are what is stored and signed."""
    return report.model_dump_json(by_alias=True, exclude_none=True).encode()


def fitted(report: NodeReport) -> tuple[bytes, bytes]:
    """Return (JSON, gzip of it) within the store's limits, leaving out whole measurements if it must.

    Raises `ProbeError` E7504 if even then it is too large.
    """
    for name in ("", *_GIVEN_UP_FIRST):
        if name:
            report = _without(report, name)
        plain = report_bytes(report)
        packed = gzip.compress(plain, compresslevel=6, mtime=0)
        if len(plain) <= limits.REPORT_MAX and len(packed) <= limits.REPORT_GZIP_MAX:
            return plain, packed
    raise ProbeError(
        "E7504", "the report is too large for the store", why=f"{len(packed)} bytes compressed", retryable=False
    )


def _without(report: NodeReport, name: str) -> NodeReport:
    """Return the report without one measurement; its source is then a failed one."""
    if name not in report.measurements:
        return report
    measurements = {key: value for key, value in report.measurements.items() if key != name}
    results = [
        SourceResult(
            name=result.name,
            level=result.level,
            state=SourceState.FAILED,
            reason=f"unreadable: {name} left out, the report was too large",
            milliseconds=result.milliseconds,
        )
        if result.name == _SOURCE_OF[name]
        else result
        for result in report.sources
    ]
    return report.model_copy(update={"measurements": measurements, "sources": results})
