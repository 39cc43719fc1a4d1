# SPDX-License-Identifier: Apache-2.0
"""RFC 3339 in UTC with whole seconds, the form of every time in the API; pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def to_text(moment: datetime) -> str:
    """Return `2026-11-24T06:49:44Z`."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def from_text(text: str) -> datetime | None:
    """Return the moment, or None if the text is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def seconds_since(text: str, now: datetime) -> float:
    """Return the seconds from `text` to `now`; 0 if the text is no time, so that nothing ends for that reason."""
    moment = from_text(text)
    return 0.0 if moment is None else (now - moment).total_seconds()


def after(text: str, seconds: float) -> datetime | None:
    """Return the moment `seconds` after `text`."""
    moment = from_text(text)
    return None if moment is None else moment + timedelta(seconds=seconds)
