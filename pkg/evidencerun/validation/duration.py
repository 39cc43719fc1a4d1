# SPDX-License-Identifier: Apache-2.0
"""Durations as Kubernetes users type them: `90s`, `15m`, `2h`, `1h30m`, `90d`."""

from __future__ import annotations

import re
from typing import Final

from evidencerun.errors import InputError

PATTERN: Final = r"^([0-9]+(ms|s|m|h|d))+$"
"""RE2-compatible, because the API server checks it too."""

_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_duration(text: str, *, where: str = "") -> float:
    """Return the duration in seconds.

    Raises `InputError` E1010 for anything but a sequence of whole numbers with the units ms, s, m, h, d.
    """
    if len(text) > 32 or not re.fullmatch(PATTERN, text):
        raise InputError(
            "E1010", f"{text[:40]!r} is not a duration", where=where, fix="write it like 90s, 15m, 2h or 90d"
        )
    return sum(int(number) * _MILLISECONDS[unit] for number, unit in _PART.findall(text)) / 1000


def format_duration(seconds: float) -> str:
    """Return a Go duration of whole seconds (`8m0s`), the form of `AICR_CHECK_TIMEOUT`."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{secs}s"
    return f"{minutes}m{secs}s" if minutes else f"{secs}s"
