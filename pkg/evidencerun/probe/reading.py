# SPDX-License-Identifier: Apache-2.0
"""What one source gives, and the two ways in which it can give nothing.

A source that is not there (`SourceAbsentError`) and one that could not be read (`SourceFailedError`) are different
things, and neither is ever written as 0, as an empty string or as "none".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from evidencerun import limits
from evidencerun.errors import ProbeError
from evidencerun.snapshot.report import Dimension, Level, PciDevice, Scalar, Signal, Tier, UnknownReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The facts of one source."""

    signals: tuple[tuple[Dimension, Signal], ...] = ()
    measurements: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    pci: tuple[PciDevice, ...] = ()
    markers: tuple[str, ...] = ()
    boot_id: str = ""


class SourceAbsentError(ProbeError):
    """The source is not on this node: no driver, no library, no DMI."""

    def __init__(self, reason: UnknownReason, what: str) -> None:
        super().__init__("E7502", what, retryable=False)
        self.reason = reason


class SourceFailedError(ProbeError):
    """The source is there, or should be, and could not be read; `partial` holds what arrived before."""

    def __init__(self, reason: UnknownReason, what: str, *, partial: Reading | None = None) -> None:
        super().__init__("E7503", what, retryable=False)
        self.reason = reason
        self.partial = partial if partial is not None else Reading()


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A signal that a source gives when it works; if it fails, this signal carries the reason."""

    dimension: Dimension
    id: str
    tier: Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source: what it is called, how deep it is, how to read it, how long that may take."""

    name: str
    level: Level
    read: Callable[[], Reading]
    promises: tuple[Promise, ...] = ()
    seconds: float = limits.SOURCE_SECONDS


_CUT: Final = " ...(cut)"


def kernel_signal(signal_id: str, raw: str, value: str = "", error: UnknownReason | None = None) -> Signal:
    """Return a signal of tier T2, level L1: the kernel's word, read without privilege."""
    return Signal(id=signal_id, tier=Tier.KERNEL, level=Level.KERNEL, raw=clip(raw), value=clip(value), error=error)


def driver_signal(signal_id: str, raw: str, value: str = "", error: UnknownReason | None = None) -> Signal:
    """Return a signal of tier T3, level L2: the vendor's user space."""
    return Signal(id=signal_id, tier=Tier.DRIVER, level=Level.VENDOR, raw=clip(raw), value=clip(value), error=error)


def clip(text: str) -> str:
    """Return the text, cut visibly if a report cannot hold it."""
    most = limits.REPORT_VALUE_MAX
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT


def counted(values: list[str]) -> str:
    """Return `a x2, b x1`: each value with how often it occurs, in the order of the text."""
    return ", ".join(f"{value} x{values.count(value)}" for value in sorted(set(values)))
