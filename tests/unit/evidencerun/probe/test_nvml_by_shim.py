# SPDX-License-Identifier: Apache-2.0
"""The NVML reader as it runs on a node: child process, real binding, a library of our own in the loader's path."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from evidencerun import limits
from evidencerun.probe.identifiers import hashed
from evidencerun.probe.nvmlchild import ChildOutput, run_child
from evidencerun.probe.nvmlreading import nvml_reading
from evidencerun.probe.reading import Reading, SourceAbsentError, SourceFailedError
from evidencerun.snapshot.report import Dimension, Signal, UnknownReason

RUN_UID = "0a1b2c3d-run"
H100 = {
    "driver": "570.86.15",
    "nvml": "12.570.86.15",
    "cuda": "12080",
    "count": "2",
    "gpu.name": "NVIDIA H100 80GB HBM3",
    "gpu.uuid.0": "GPU-aaaa",
    "gpu.uuid.1": "GPU-bbbb",
    "gpu.serial.0": "1650000000001",
    "gpu.serial.1": "1650000000002",
    "gpu.board": "692-2G520-0200-000",
    "gpu.vbios": "96.00.61.00.01",
    "gpu.inforom": "G520.0200.00.05",
    "gpu.gsp": "570.86.15",
    "gpu.module.0": "0",
    "gpu.module.1": "1",
    "gpu.architecture": "9",
    "gpu.capability": "90",
    "gpu.memory": "81559",
    "gpu.pci": "0x233010de",
    "gpu.subsystem": "0x16c110de",
    "gpu.memory-clock": "2619",
    "gpu.clock": "1980",
    "gpu.links": "18",
    "gpu.link-version": "6",
    "gpu.persistence": "1",
    "gpu.virtualization": "0",
}


def environment(folder: Path, tmp_path: Path, changes: dict[str, str]) -> dict[str, str]:
    config = tmp_path / "answers"
    config.write_text("".join(f"{key}={value}\n" for key, value in (H100 | changes).items()))
    return {
        "PATH": os.environ["PATH"],
        "EVIDENCERUN_RUN_UID": RUN_UID,
        "NVML_SHIM": str(config),
        "LD_LIBRARY_PATH": str(folder),
    }


def read(folder: Path | None, tmp_path: Path, changes: dict[str, str] | None = None) -> Reading:
    return nvml_reading(run_child(60, environ=environment(folder or tmp_path, tmp_path, changes or {})))


def signals(reading: Reading, signal_id: str) -> list[Signal]:
    return [signal for _, signal in reading.signals if signal.id == signal_id]


def only(reading: Reading, signal_id: str) -> Signal:
    (found,) = signals(reading, signal_id)
    return found


def test_two_gpus_are_read_whole(shim_folder: Path, tmp_path: Path) -> None:
    reading = read(shim_folder, tmp_path)
    assert only(reading, "nvml.name").raw == "NVIDIA H100 80GB HBM3"
    assert only(reading, "nvml.count").value == "2"
    assert only(reading, "nvml.pci").raw == "10de:2330 x2"
    assert only(reading, "nvml.memory").raw == "81559 MiB x2"
    assert only(reading, "nvml.driver").value == "570.86.15"
    assert only(reading, "nvml.cuda").value == "12.8"
    assert only(reading, "nvml.nvlink").raw == "18 links x2"
    assert only(reading, "nvml.fabric").raw == "state 3 clique 0 cluster zero x2"
    assert {dimension for dimension, _ in reading.signals} == {
        Dimension.ACCELERATOR,
        Dimension.DRIVER,
        Dimension.FABRIC,
    }
    smi = reading.measurements["GPU.smi"]
    assert smi["gpu-count"] == 2
    assert smi["gpu.model"] == "NVIDIA H100 80GB HBM3"
    assert smi["gpu.memory-mib"] == 81559
    detail = reading.measurements["GPU.nvml"]
    assert detail["gpu.1.compute-capability"] == "9.0"
    assert detail["gpu.0.pci-subsystem"] == "10de:16c1"
    assert detail["gpu.0.max-memory-mhz"] == 2619
    assert reading.markers == ()


def test_identifiers_leave_as_hashes_only(shim_folder: Path, tmp_path: Path) -> None:
    reading = read(shim_folder, tmp_path)
    detail = reading.measurements["GPU.nvml"]
    assert detail["gpu.0.uuid-hash"] == hashed("GPU-aaaa", RUN_UID)
    assert detail["gpu.0.uuid-hash"] != detail["gpu.1.uuid-hash"]
    text = repr(reading)
    assert not [secret for secret in ("GPU-aaaa", "GPU-bbbb", "1650000000001", "1650000000002") if secret in text]


def test_library_that_is_not_there_is_absent_and_says_no_driver(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsentError) as caught:
        read(None, tmp_path)
    assert caught.value.reason is UnknownReason.NO_DRIVER
    assert "libnvidia-ml.so.1" in caught.value.what


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (4, UnknownReason.PERMISSION),
        (13, UnknownReason.OLD_DRIVER),
        (15, UnknownReason.UNREADABLE),
        (18, UnknownReason.DRIVER_MISMATCH),
        (999, UnknownReason.DEVICE_ACCESS),
    ],
)
def test_refused_start_is_a_failure_with_its_reason(
    shim_folder: Path, tmp_path: Path, code: int, reason: UnknownReason
) -> None:
    with pytest.raises(SourceFailedError) as caught:
        read(shim_folder, tmp_path, {"fail.nvmlInitWithFlags": str(code)})
    assert caught.value.reason is reason
    assert str(code) in caught.value.what


@pytest.mark.parametrize("code", [9, 12])
def test_start_without_driver_is_absent(shim_folder: Path, tmp_path: Path, code: int) -> None:
    with pytest.raises(SourceAbsentError) as caught:
        read(shim_folder, tmp_path, {"fail.nvmlInitWithFlags": str(code)})
    assert caught.value.reason is UnknownReason.NO_DRIVER


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (3, UnknownReason.NOT_APPLICABLE),
        (4, UnknownReason.PERMISSION),
        (13, UnknownReason.OLD_DRIVER),
        (15, UnknownReason.UNREADABLE),
        (999, UnknownReason.DEVICE_ACCESS),
    ],
)
def test_value_that_cannot_be_read_is_unknown_not_zero(
    shim_folder: Path, tmp_path: Path, code: int, reason: UnknownReason
) -> None:
    reading = read(shim_folder, tmp_path, {"fail.nvmlDeviceGetName.1": str(code)})
    name = only(reading, "nvml.name")
    assert (name.raw, name.error) == ("NVIDIA H100 80GB HBM3", reason)
    detail = reading.measurements["GPU.nvml"]
    assert "gpu.1.name" not in detail
    assert detail["gpu.1.name.error"] == code
    assert "gpu.model" not in reading.measurements["GPU.smi"]


def test_lost_gpu_is_still_counted(shim_folder: Path, tmp_path: Path) -> None:
    reading = read(shim_folder, tmp_path, {"fail.nvmlDeviceGetHandleByIndex_v2.1": "15"})
    assert only(reading, "nvml.count").value == "2"
    assert only(reading, "nvml.pci").raw == "10de:2330 x1"
    assert only(reading, "nvml.pci").error is UnknownReason.UNREADABLE
    assert reading.measurements["GPU.nvml"]["gpu.1.handle.error"] == 15


def test_a_gpu_that_is_not_ready_is_asked_once_more(shim_folder: Path, tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    reading = read(shim_folder, tmp_path, {"busy.nvmlDeviceGetName.1": str(busy)})
    assert busy.exists()
    assert only(reading, "nvml.name").error is None


def test_a_gpu_that_stays_busy_is_not_asked_for_ever(shim_folder: Path, tmp_path: Path) -> None:
    reading = read(shim_folder, tmp_path, {"fail.nvmlDeviceGetName.1": "27"})
    assert reading.measurements["GPU.nvml"]["gpu.1.name.error"] == 27


def test_more_gpus_than_are_read_are_no_complete_answer(shim_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceFailedError) as caught:
        read(shim_folder, tmp_path, {"count": "300"})
    assert caught.value.what.startswith(f"{limits.NVML_GPUS_MAX} of 300 GPUs answered")
    assert "GPU.smi" not in caught.value.partial.measurements


def test_unlike_gpus_have_no_common_model(shim_folder: Path, tmp_path: Path) -> None:
    changes = {"gpu.name.1": "NVIDIA L40S", "gpu.pci.1": "0x26b910de"}
    reading = read(shim_folder, tmp_path, changes)
    assert [signal.raw for signal in signals(reading, "nvml.name")] == ["NVIDIA H100 80GB HBM3", "NVIDIA L40S"]
    assert only(reading, "nvml.pci").raw == "10de:2330 x1, 10de:26b9 x1"
    assert "gpu.model" not in reading.measurements["GPU.smi"]


def test_count_that_fails_is_no_count_of_zero(shim_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceFailedError) as caught:
        read(shim_folder, tmp_path, {"fail.nvmlDeviceGetCount_v2": "999"})
    assert caught.value.reason is UnknownReason.DEVICE_ACCESS
    assert only(caught.value.partial, "nvml.count").error is UnknownReason.DEVICE_ACCESS
    assert "GPU.smi" not in caught.value.partial.measurements


def test_hanging_gpu_costs_only_itself(shim_folder: Path, tmp_path: Path) -> None:
    hung = tmp_path / "hung"
    changes = {"hang.nvmlDeviceGetSerial.1": str(hung)}
    output = run_child(
        600, environ=environment(shim_folder, tmp_path, changes), monotonic=lambda: 1000.0 if hung.exists() else 0.0
    )
    assert output.timed_out
    with pytest.raises(SourceFailedError) as caught:
        nvml_reading(output)
    assert caught.value.reason is UnknownReason.TIMEOUT
    assert "1 of 2" in caught.value.what
    name = only(caught.value.partial, "nvml.name")
    assert (name.raw, name.error) == ("NVIDIA H100 80GB HBM3", UnknownReason.TIMEOUT)
    assert "GPU.smi" not in caught.value.partial.measurements


def test_crash_of_the_library_keeps_what_arrived(shim_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceFailedError) as caught:
        read(shim_folder, tmp_path, {"crash.nvmlDeviceGetSerial.1": "1"})
    assert caught.value.reason is UnknownReason.UNREADABLE
    assert "signal 11" in caught.value.what
    assert only(caught.value.partial, "nvml.memory").raw == "81559 MiB x1"


def test_older_fabric_structure_is_tried(shim_folder: Path, tmp_path: Path) -> None:
    changes = {"gpu.fabric-version": "2", "gpu.fabric-cluster": "7", "gpu.fabric-clique": "32766"}
    fabric = only(read(shim_folder, tmp_path, changes), "nvml.fabric")
    assert fabric.raw == f"state 3 clique 32766 cluster {hashed('07' * 16, RUN_UID)} x2"


def test_library_with_the_sign_of_a_mock_is_marked(mock_shim_folder: Path, tmp_path: Path) -> None:
    (marker,) = read(mock_shim_folder, tmp_path).markers
    assert marker.startswith("M4: ")
    assert "MOCK_NVML" in marker


def test_other_lines_on_stdout_do_not_matter(tmp_path: Path) -> None:
    script = 'print("WARNING: infoROM"); print("[1]"); print(\'{"kind": "end"}\')'
    output = run_child(20, command=(sys.executable, "-c", script))
    assert [line["kind"] for line in output.lines] == ["end"]
    assert output.ending == ""


def test_endless_output_is_cut(tmp_path: Path) -> None:
    script = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    output = run_child(20, command=(sys.executable, "-c", script))
    assert output == ChildOutput(lines=(), timed_out=False, ending="killed for printing too much")


def test_lines_without_end_are_cut(tmp_path: Path) -> None:
    output = run_child(20, command=(sys.executable, "-c", "while True: print('{}')"))
    assert len(output.lines) >= limits.NVML_GPUS_MAX
    assert output.ending == "killed for printing too much"


def waiting_child(tmp_path: Path, first: str = "") -> tuple[tuple[str, ...], Path]:
    """Return a command that writes its process id to a file, then sleeps; and that file."""
    pid = tmp_path / "pid"
    script = f"import os, time; {first}open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    return (sys.executable, "-c", script), pid


def test_a_child_that_closes_its_output_and_stays_is_killed(tmp_path: Path) -> None:
    command, pid = waiting_child(tmp_path, first="os.close(1); ")
    output = run_child(20, command=command)
    assert (output.timed_out, output.ending) == (False, "killed, since it went on after its last line")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_fault_of_ours_leaves_no_child_running(tmp_path: Path) -> None:
    command, pid = waiting_child(tmp_path)

    def monotonic() -> float:
        if pid.exists() and pid.read_text():
            raise RuntimeError("no time")
        return 0.0

    with pytest.raises(RuntimeError, match="no time"):
        run_child(20, command=command, monotonic=monotonic)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_real_captures_come_out_as_they_were(shim_folder: Path, tmp_path: Path, test_data: Path) -> None:
    captures = json.loads((test_data / "gpu/nvidia-real-captures-summary.json").read_text())
    assert len(captures) >= 7
    for capture in captures.values():
        answers = {
            "driver": capture["driver"],
            "cuda": f"{capture['cuda'].replace('.', '0')}0",
            "count": str(capture["gpus"]),
            "gpu.name": capture["product_name"],
            "gpu.pci": f"0x{capture['pci_device_id']}",
            "gpu.memory": capture["fb_total_mib"].removesuffix(" MiB"),
            "gpu.gsp": capture["gsp"],
            "gpu.vbios": capture["vbios"][0],
        }
        reading = read(shim_folder, tmp_path, answers)
        device, vendor = capture["pci_device_id"][:4].lower(), capture["pci_device_id"][4:].lower()
        assert only(reading, "nvml.name").raw == capture["product_name"]
        assert only(reading, "nvml.pci").raw == f"{vendor}:{device} x{capture['gpus']}"
        assert only(reading, "nvml.memory").raw == f"{capture['fb_total_mib']} x{capture['gpus']}"
        assert only(reading, "nvml.cuda").value == capture["cuda"]
        assert only(reading, "nvml.driver").value == capture["driver"]
        assert reading.measurements["GPU.smi"]["gpu.gsp-firmware-version"] == capture["gsp"]
