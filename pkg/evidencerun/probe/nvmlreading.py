# SPDX-License-Identifier: Apache-2.0
"""Turns the lines of the NVML reader into signals and measurements. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from evidencerun.probe.nvmlchild import ChildOutput
from evidencerun.probe.reading import Reading, SourceAbsentError, SourceFailedError, counted, driver_signal
from evidencerun.snapshot.report import Dimension, Scalar, Signal, UnknownReason

_REASONS: Final[Mapping[int, UnknownReason]] = {
    3: UnknownReason.NOT_APPLICABLE,
    26: UnknownReason.NOT_APPLICABLE,
    4: UnknownReason.PERMISSION,
    9: UnknownReason.NO_DRIVER,
    12: UnknownReason.NO_DRIVER,
    11: UnknownReason.TIMEOUT,
    13: UnknownReason.OLD_DRIVER,
    25: UnknownReason.OLD_DRIVER,
    18: UnknownReason.DRIVER_MISMATCH,
    999: UnknownReason.DEVICE_ACCESS,
}
_INIT_WORDS: Final[Mapping[int, str]] = {
    9: "the driver is not loaded",
    12: "libnvidia-ml.so.1 not found in the container",
    4: "no permission",
    18: "library and kernel module are of different versions",
    999: "unknown error, often a lost device cgroup",
}
_COMMON_KEYS: Final[Mapping[str, str]] = {
    "gpu.model": "name",
    "gpu.vbios-version": "vbios-version",
    "gpu.gsp-firmware-version": "gsp-firmware-version",
    "gpu.compute-capability": "compute-capability",
    "gpu.memory-mib": "memory-mib",
}
"""AICR's keys of GPU.smi as far as NVML gives them, and two more; only values that all GPUs of the node share."""


def reason_for(code: int) -> UnknownReason:
    """Return why a value is unknown for an NVML error code; a sick GPU's codes are `unreadable`."""
    return _REASONS.get(code, UnknownReason.UNREADABLE)


def nvml_reading(output: ChildOutput) -> Reading:
    """Return what NVML said.

    Raises `SourceAbsentError` without driver or library, `SourceFailedError` if NVML refused, hung or crashed; that
    holds everything that arrived before.
    """
    kinds = {str(line.get("kind", "")): line for line in output.lines}
    if "init" in kinds:
        _refused(int(kinds["init"].get("error", 999)))
    gpus = [line for line in output.lines if line.get("kind") == "gpu"]
    system = kinds.get("system", {})
    complete = "end" in kinds and "count" in system.get("values", {})
    cause = None if complete else _cause(output, system)
    reading = _reading(system, gpus, kinds.get("library", {}), cause)
    if cause is not None:
        expected = system.get("values", {}).get("count", "an unknown number of")
        what = f"{len(gpus)} of {expected} GPUs answered; the reader ended: {output.ending or 'without its last line'}"
        raise SourceFailedError(cause, what, partial=reading)
    return reading


def _refused(code: int) -> None:
    words = f"NVML error {code} at its start: {_INIT_WORDS.get(code, 'see NVML documentation')}"
    if code in (9, 12):
        raise SourceAbsentError(UnknownReason.NO_DRIVER, words)
    raise SourceFailedError(reason_for(code), words)


def _cause(output: ChildOutput, system: Mapping[str, Any]) -> UnknownReason:
    if output.timed_out:
        return UnknownReason.TIMEOUT
    code = system.get("errors", {}).get("count")
    return reason_for(int(code)) if code is not None and not output.ending else UnknownReason.UNREADABLE


def _reading(
    system: Mapping[str, Any],
    gpus: Sequence[Mapping[str, Any]],
    library: Mapping[str, Any],
    cause: UnknownReason | None,
) -> Reading:
    values = [dict(gpu.get("values", {})) for gpu in gpus]
    system_values = dict(system.get("values", {}))
    signals = _system_signals(system_values, system.get("errors", {}))
    signals += _gpu_signals(values, gpus, cause)
    mock = [str(sign) for sign in library.get("mock", [])]
    return Reading(
        signals=tuple(signals),
        measurements=_measurements(system_values, values, gpus, complete=cause is None),
        markers=tuple(f"M4: {library.get('path', '')} contains {sign}" for sign in mock),
    )


def _system_signals(values: Mapping[str, Any], errors: Mapping[str, Any]) -> list[tuple[Dimension, Signal]]:
    found = []
    for dimension, signal_id, key in (
        (Dimension.DRIVER, "nvml.driver", "driver"),
        (Dimension.DRIVER, "nvml.cuda", "cuda"),
        (Dimension.ACCELERATOR, "nvml.count", "count"),
    ):
        if key in values:
            text = str(values[key])
            found.append((dimension, driver_signal(signal_id, text, text)))
        elif key in errors:
            found.append((dimension, driver_signal(signal_id, "", error=reason_for(int(errors[key])))))
    return found


def _gpu_signals(
    values: list[dict[str, Any]], gpus: Sequence[Mapping[str, Any]], cause: UnknownReason | None
) -> list[tuple[Dimension, Signal]]:
    """Return a signal per property over all GPUs of the node; a GPU without a value makes the signal carry why."""
    found = []
    for dimension, signal_id, key, form in (
        (Dimension.ACCELERATOR, "nvml.name", "name", "{}"),
        (Dimension.ACCELERATOR, "nvml.pci", "pci-id", "{}"),
        (Dimension.ACCELERATOR, "nvml.memory", "memory-mib", "{} MiB"),
        (Dimension.FABRIC, "nvml.nvlink", "nvlink-active", "{} links"),
    ):
        texts = [form.format(value[key]) for value in values if key in value]
        error = cause or _first_error(gpus, key)
        # A product name stands alone, one signal per name, so that a table can look it up.
        raws = sorted(set(texts)) if key == "name" and texts else [counted(texts)]
        if texts or error:
            found += [(dimension, driver_signal(signal_id, raw, error=error)) for raw in raws]
    fabrics = [
        f"state {v['fabric-state']} clique {v['fabric-clique']} cluster {v['fabric-cluster']}"
        for v in values
        if "fabric-state" in v
    ]
    error = cause or _first_error(gpus, "fabric-state")
    if fabrics or error:
        found.append((Dimension.FABRIC, driver_signal("nvml.fabric", counted(fabrics), error=error)))
    return found


def _first_error(gpus: Sequence[Mapping[str, Any]], key: str) -> UnknownReason | None:
    for gpu in gpus:
        errors = gpu.get("errors", {})
        code = errors.get(key, errors.get("handle"))
        if code is not None:
            return reason_for(int(code))
    return None


def _measurements(
    system: Mapping[str, Any],
    values: list[dict[str, Any]],
    gpus: Sequence[Mapping[str, Any]],
    *,
    complete: bool,
) -> dict[str, dict[str, Scalar]]:
    """Return GPU.smi with AICR's keys if all GPUs answered, and GPU.nvml with every value of every GPU."""
    detail: dict[str, Scalar] = {}
    for gpu in gpus:
        index = int(gpu.get("index", 0))
        detail |= {f"gpu.{index}.{key}": value for key, value in gpu.get("values", {}).items()}
        detail |= {f"gpu.{index}.{key}.error": int(code) for key, code in gpu.get("errors", {}).items()}
    measured: dict[str, dict[str, Scalar]] = {"GPU.nvml": detail} if detail else {}
    if complete:
        smi: dict[str, Scalar] = {"gpu-count": int(system["count"])}
        smi |= {key: str(system[own]) for key, own in (("driver", "driver"), ("cuda-version", "cuda")) if own in system}
        for key, own in _COMMON_KEYS.items():
            shared = {value.get(own) for value in values}
            if len(shared) == 1 and None not in shared:
                smi[key] = values[0][own]
        measured["GPU.smi"] = smi
    return measured
