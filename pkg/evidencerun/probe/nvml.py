# SPDX-License-Identifier: Apache-2.0
"""A program of its own, `python3 -m evidencerun.probe.nvml`: asks NVML and prints one JSON line per answer.

NVML can block in the kernel when a GPU has fallen off the bus, and a broken library can crash the process, so this runs
in a child that the probe can leave behind. Lines, in this order: `library` (which file was loaded), `system`, one `gpu`
per GPU, `end`. A value that could not be read stands in `errors` with NVML's own code. Nothing is ever set or reset.

UUIDs and serials leave this process as hashes only, salted with the run's uid (variable EVIDENCERUN_RUN_UID).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from ctypes import byref
from pathlib import Path
from typing import Any, Final

import pynvml

from evidencerun import limits
from evidencerun.probe.identifiers import hashed

_TRY_ONCE_MORE: Final = frozenset({11, 19, 27})
"""Timeout, in use, not ready: the fabric may still be forming."""
_OLDER_CALL: Final = frozenset({13, 25})
_MOCK_SIGNS: Final = (b"MOCK_NVML", b"\xff Go buildinf:", b".note.go.buildid")
"""M4: NVIDIA's library is no Go object and knows no such variable."""
_LINKS_MAX: Final = 36


class Answers:
    """Values by name; an NVML error is kept by its code instead."""

    def __init__(self) -> None:
        self.values: dict[str, str | int] = {}
        self.errors: dict[str, int] = {}

    def ask(self, name: str, call: Callable[[], Any], shape: Callable[[Any], str | int] = lambda v: v) -> None:
        """Call, once more if NVML says that it is busy, and keep value or error."""
        for attempt in (1, 2):
            try:
                answer = shape(call())
            except pynvml.NVMLError as fault:
                code = int(fault.value)
                if attempt == 1 and code in _TRY_ONCE_MORE:
                    continue
                self.errors[name] = code
                return
            self.values[name] = answer.decode() if isinstance(answer, bytes) else answer
            return


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Print what NVML says; return 0 even if NVML could not be started, which the first line then tells."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as fault:
        _print({"kind": "init", "error": int(fault.value)})
        return 0
    _print({"kind": "library", **_library()})
    salt = environ.get("EVIDENCERUN_RUN_UID", "")
    system, count = _system()
    _print({"kind": "system", "values": system.values, "errors": system.errors})
    for index in range(min(count, limits.NVML_GPUS_MAX)):
        gpu = _gpu(index, salt)
        _print({"kind": "gpu", "index": index, "values": gpu.values, "errors": gpu.errors})
    # Without this line the probe knows that there is more than was told.
    if count <= limits.NVML_GPUS_MAX:
        _print({"kind": "end"})
    return 0


def _system() -> tuple[Answers, int]:
    answers = Answers()
    answers.ask("driver", pynvml.nvmlSystemGetDriverVersion)
    answers.ask("nvml", pynvml.nvmlSystemGetNVMLVersion)
    answers.ask("cuda", pynvml.nvmlSystemGetCudaDriverVersion_v2, _cuda_version)
    answers.ask("count", pynvml.nvmlDeviceGetCount)
    return answers, int(answers.values.get("count", 0))


def _gpu(index: int, salt: str) -> Answers:
    answers = Answers()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as fault:
        answers.errors["handle"] = int(fault.value)
        return answers
    _identity(answers, handle, salt)
    _sizes_and_modes(answers, handle)
    _links(answers, handle)
    _fabric(answers, handle, salt)
    return answers


def _identity(answers: Answers, handle: Any, salt: str) -> None:
    def secret(text: str | bytes) -> str:
        return hashed(text if isinstance(text, str) else text.decode(), salt)

    answers.ask("name", lambda: pynvml.nvmlDeviceGetName(handle))
    answers.ask("uuid-hash", lambda: pynvml.nvmlDeviceGetUUID(handle), secret)
    answers.ask("serial-hash", lambda: pynvml.nvmlDeviceGetSerial(handle), secret)
    answers.ask("board-part-number", lambda: pynvml.nvmlDeviceGetBoardPartNumber(handle))
    answers.ask("vbios-version", lambda: pynvml.nvmlDeviceGetVbiosVersion(handle))
    answers.ask("inforom-image", lambda: pynvml.nvmlDeviceGetInforomImageVersion(handle))
    answers.ask("gsp-firmware-version", lambda: pynvml.nvmlDeviceGetGspFirmwareVersion(handle))
    answers.ask("module-id", lambda: pynvml.nvmlDeviceGetModuleId(handle))
    answers.ask("architecture", lambda: pynvml.nvmlDeviceGetArchitecture(handle))
    answers.ask(
        "compute-capability",
        lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle),
        lambda pair: f"{pair[0]}.{pair[1]}",
    )
    _pci(answers, handle)


def _pci(answers: Answers, handle: Any) -> None:
    """`pciDeviceId` holds device and vendor as DDDDVVVV."""
    try:
        info = pynvml.nvmlDeviceGetPciInfo(handle)
    except pynvml.NVMLError as fault:
        answers.errors["pci-id"] = int(fault.value)
        return
    bus = info.busId
    answers.values["pci-bus"] = (bus.decode() if isinstance(bus, bytes) else str(bus)).lower()
    answers.values["pci-id"] = f"{info.pciDeviceId & 0xFFFF:04x}:{info.pciDeviceId >> 16:04x}"
    subsystem = info.pciSubSystemId
    answers.values["pci-subsystem"] = f"{subsystem & 0xFFFF:04x}:{subsystem >> 16:04x}"


def _sizes_and_modes(answers: Answers, handle: Any) -> None:
    def first(pair: Any) -> int:
        return int(pair[0])

    answers.ask("memory-mib", lambda: pynvml.nvmlDeviceGetMemoryInfo(handle), lambda m: int(m.total) >> 20)
    answers.ask("bar1-mib", lambda: pynvml.nvmlDeviceGetBAR1MemoryInfo(handle), lambda m: int(m.bar1Total) >> 20)
    answers.ask("ecc-mode", lambda: pynvml.nvmlDeviceGetEccMode(handle), first)
    answers.ask("mig-mode", lambda: pynvml.nvmlDeviceGetMigMode(handle), first)
    answers.ask("persistence-mode", lambda: pynvml.nvmlDeviceGetPersistenceMode(handle))
    answers.ask("virtualization-mode", lambda: pynvml.nvmlDeviceGetVirtualizationMode(handle))
    answers.ask("max-sm-mhz", lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM))
    answers.ask("max-memory-mhz", lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_MEM))


def _links(answers: Answers, handle: Any) -> None:
    """Ask link after link until NVML knows no further one; count those that are active."""
    active = 0
    for link in range(_LINKS_MAX):
        try:
            active += int(pynvml.nvmlDeviceGetNvLinkState(handle, link)) == 1
        except pynvml.NVMLError as fault:
            if link == 0:
                answers.errors["nvlink-active"] = int(fault.value)
                return
            break
    answers.values["nvlink-active"] = active
    answers.ask("nvlink-version", lambda: pynvml.nvmlDeviceGetNvLinkVersion(handle, 0))


def _fabric(answers: Answers, handle: Any, salt: str) -> None:
    """State 3 is completed. HGX boards have a completed fabric with an all-zero cluster uuid."""
    last = 0
    for shape in (pynvml.c_nvmlGpuFabricInfo_v3_t, pynvml.c_nvmlGpuFabricInfo_v2_t):
        info = shape()
        try:
            pynvml.nvmlDeviceGetGpuFabricInfoV(handle, byref(info))
        except pynvml.NVMLError as fault:
            last = int(fault.value)
            if last in _OLDER_CALL:
                continue
            break
        cluster = bytes(info.clusterUuid)
        answers.values["fabric-state"] = int(info.state)
        answers.values["fabric-clique"] = int(info.cliqueId)
        answers.values["fabric-cluster"] = hashed(cluster.hex(), salt) if any(cluster) else "zero"
        return
    answers.errors["fabric-state"] = last


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _library() -> dict[str, str | list[str]]:
    """Return the file that the loader chose, and the signs of a mock in it."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {"path": "", "mock": []}
    paths = [line.split(maxsplit=5)[5] for line in maps.splitlines() if "libnvidia-ml" in line]
    if not paths:
        return {"path": "", "mock": []}
    try:
        with Path(paths[0]).open("rb") as file:
            content = file.read(limits.VENDOR_LIBRARY_MAX)
    except OSError:
        return {"path": paths[0], "mock": []}
    return {
        "path": paths[0],
        "mock": [sign.decode("latin-1").strip("\xff ") for sign in _MOCK_SIGNS if sign in content],
    }


def _print(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
