# SPDX-License-Identifier: Apache-2.0
"""Collecting under deadlines, and the report that comes of it."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from typing import TYPE_CHECKING

import pytest

from evidencerun import limits
from evidencerun.errors import InputError, ProbeError
from evidencerun.probe.collect import Collected, collect
from evidencerun.probe.reading import Promise, Reading, Source, SourceAbsentError, SourceFailedError, kernel_signal
from evidencerun.probe.reportbytes import ReportHead, fitted, make_report, report_bytes
from evidencerun.probe.settings import probe_settings
from evidencerun.probe.sources import sources
from evidencerun.snapshot.report import (
    Dimension,
    Level,
    NodeReport,
    Scalar,
    SourceResult,
    SourceState,
    Tier,
    UnknownReason,
)

if TYPE_CHECKING:
    from tests.unit.evidencerun.probe.conftest import Machine

HEAD = ReportHead(
    run_uid="run",
    node_name="node1",
    version="0.1.0",
    access="auto",
    started_at="2026-01-01T00:00:00Z",
    finished_at="2026-01-01T00:00:01Z",
)
PROMISE = Promise(dimension=Dimension.ACCELERATOR, id="pci.device", tier=Tier.KERNEL)


def collected(read: object, *, seconds: float = 30) -> Collected:
    assert callable(read)
    source = Source(name="pci", level=Level.KERNEL, read=read, promises=(PROMISE,), seconds=seconds)
    (found,) = collect([source], iter([0.0, 0.25]).__next__)
    return found


def failing(fault: BaseException) -> object:
    def read() -> Reading:
        raise fault

    return read


def test_a_source_that_reads_keeps_its_facts() -> None:
    reading = Reading(signals=((Dimension.ACCELERATOR, kernel_signal("pci.device", "", "none")),))
    found = collected(lambda: reading)
    assert found.reading is reading
    assert (found.result.state, found.result.milliseconds) == (SourceState.READ, 250)


def test_an_absent_source_gives_no_signal() -> None:
    found = collected(failing(SourceAbsentError(UnknownReason.NO_DRIVER, "no library")))
    assert found.result.state is SourceState.ABSENT
    assert found.result.reason == "no_driver: no library"
    assert found.reading.signals == ()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (SourceFailedError(UnknownReason.SANDBOXED, "hidden"), UnknownReason.SANDBOXED),
        (PermissionError(13, "denied"), UnknownReason.PERMISSION),
        (FileNotFoundError(2, "gone"), UnknownReason.UNREADABLE),
        (ZeroDivisionError("a fault of ours"), UnknownReason.UNREADABLE),
        (SystemExit(3), UnknownReason.UNREADABLE),
    ],
)
def test_a_failed_source_keeps_its_promises_with_the_reason(fault: BaseException, reason: UnknownReason) -> None:
    found = collected(failing(fault))
    assert found.result.state is SourceState.FAILED
    assert found.result.reason.startswith(f"{reason}: ")
    ((dimension, signal),) = found.reading.signals
    assert (dimension, signal.id, signal.error, signal.value) == (Dimension.ACCELERATOR, "pci.device", reason, "")


def test_a_failed_source_keeps_what_arrived() -> None:
    partial = Reading(signals=((Dimension.ACCELERATOR, kernel_signal("pci.device", "10de:2330 x1")),))
    found = collected(failing(SourceFailedError(UnknownReason.TIMEOUT, "slow", partial=partial)))
    assert [signal.raw for _, signal in found.reading.signals] == ["10de:2330 x1"]


def test_a_source_that_hangs_is_left_behind() -> None:
    never = threading.Event()

    def hang() -> Reading:
        never.wait()
        return Reading()

    try:
        found = collected(hang, seconds=0.05)
    finally:
        never.set()
    assert found.result.reason.startswith("timeout: ")


def a_report(measurements: dict[str, dict[str, Scalar]] | None = None) -> NodeReport:
    found = [
        Collected(
            reading=Reading(measurements=measurements or {}),
            result=SourceResult(name=name, level=level, state=state),
        )
        for name, level, state in (
            ("sysctl", Level.KERNEL, SourceState.READ),
            ("kmod", Level.KERNEL, SourceState.READ),
            ("nvml", Level.VENDOR, SourceState.ABSENT),
        )
    ]
    return make_report(HEAD, found)


def test_level_is_the_deepest_that_was_read() -> None:
    assert a_report().probe.level is Level.KERNEL


def test_report_of_a_machine_without_accelerator_is_whole(machine: Machine) -> None:
    wanted = sources(machine.tree, machine="x86_64", environ={}, vendor=False, nvml_seconds=1)
    report = make_report(HEAD, collect(wanted, lambda: 0.0))
    again = NodeReport.model_validate_json(report_bytes(report))
    assert again == report
    assert {result.name: result.state for result in report.sources} == {
        "sandbox": SourceState.READ,
        "kernel": SourceState.READ,
        "pci": SourceState.READ,
        "os-release": SourceState.READ,
        "kmod": SourceState.READ,
        "cmdline": SourceState.READ,
        "sysctl": SourceState.READ,
        "dmi": SourceState.ABSENT,
        "kfd": SourceState.ABSENT,
        "nvidia-proc": SourceState.ABSENT,
        "amdgpu-module": SourceState.ABSENT,
        "markers": SourceState.READ,
    }
    assert report.signals[Dimension.ACCELERATOR][0].value == "none"
    assert report.boot_id


def test_vendor_library_is_tried_unless_the_policy_says_pci_only(machine: Machine) -> None:
    names = [
        [source.name for source in sources(machine.tree, machine="m", environ={}, vendor=vendor, nvml_seconds=1)]
        for vendor in (True, False)
    ]
    assert "nvml" in names[0]
    assert "nvml" not in names[1]


def test_bytes_are_compact_and_leave_out_what_is_not_there() -> None:
    plain, packed = fitted(a_report({"OS.kmod": {"ext4": True}}))
    assert gzip.decompress(packed) == plain
    document = json.loads(plain)
    assert document["schema"] == "https://evidencerun.dev/schemas/node-report/v1"
    assert document["measurements"] == {"OS.kmod": {"ext4": True}}
    assert fitted(a_report({"OS.kmod": {"ext4": True}})) == (plain, packed)


def test_too_large_a_report_gives_up_settings_first_and_says_so() -> None:
    huge: dict[str, Scalar] = {f"/proc/sys/{number}": "x" * 4000 for number in range(1100)}
    plain, _ = fitted(a_report({"OS.sysctl": huge, "OS.kmod": {"ext4": True}}))
    assert len(plain) <= limits.REPORT_MAX
    document = json.loads(plain)
    assert set(document["measurements"]) == {"OS.kmod"}
    states = {source["name"]: (source["state"], source["reason"]) for source in document["sources"]}
    assert states["sysctl"] == ("failed", "unreadable: OS.sysctl left out, the report was too large")
    assert states["kmod"][0] == "read"


def test_a_report_that_does_not_compress_gives_up_settings_as_well() -> None:
    noise: dict[str, Scalar] = {
        f"/proc/sys/{number}": hashlib.shake_256(str(number).encode()).hexdigest(500) for number in range(800)
    }
    plain, packed = fitted(a_report({"OS.sysctl": noise, "OS.kmod": {"ext4": True}}))
    assert len(packed) <= limits.REPORT_GZIP_MAX
    assert set(json.loads(plain)["measurements"]) == {"OS.kmod"}


def test_a_report_that_cannot_be_made_small_is_an_error() -> None:
    huge: dict[str, Scalar] = {str(number): "x" * 4000 for number in range(1100)}
    with pytest.raises(ProbeError) as caught:
        fitted(a_report({"OS.grub": huge}))
    assert caught.value.code == "E7504"


ENVIRON = {
    "EVIDENCERUN_STORE_URL": "https://evidence-store.evidencerun-system.svc",
    "EVIDENCERUN_RUN_UID": "run",
    "NODE_NAME": "node1",
    "EVIDENCERUN_DEADLINE": "2026-01-01T00:00:00Z",
    "EVIDENCERUN_NODES": "3",
}


def test_settings_are_read() -> None:
    settings = probe_settings(ENVIRON)
    assert (settings.nodes, settings.access, settings.deadline.utcoffset() is not None) == (3, "auto", True)


@pytest.mark.parametrize("name", ["EVIDENCERUN_STORE_URL", "EVIDENCERUN_RUN_UID", "NODE_NAME", "EVIDENCERUN_DEADLINE"])
def test_missing_settings_are_named(name: str) -> None:
    with pytest.raises(InputError) as caught:
        probe_settings(ENVIRON | {name: ""})
    assert name in caught.value.why


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVIDENCERUN_NODES", "many"),
        ("EVIDENCERUN_DEADLINE", "soon"),
        ("EVIDENCERUN_DEADLINE", "2026-01-01T00:00:00"),
    ],
)
def test_malformed_settings_are_named(name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        probe_settings(ENVIRON | {name: value})
    assert caught.value.where == name
