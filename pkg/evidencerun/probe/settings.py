# SPDX-License-Identifier: Apache-2.0
"""The probe's settings, from the variables of its container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from evidencerun.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """All that the operator tells a probe."""

    store_url: str
    store_ca: str
    token_file: Path
    run_uid: str
    node_name: str
    access: str
    nodes: int
    deadline: datetime


def probe_settings(environ: Mapping[str, str]) -> ProbeSettings:
    """Return the settings. Raises `InputError` E7501 that names every variable that is missing or wrong."""
    required = ("EVIDENCERUN_STORE_URL", "EVIDENCERUN_RUN_UID", "NODE_NAME", "EVIDENCERUN_DEADLINE")
    missing = [name for name in required if not environ.get(name)]
    if missing:
        raise InputError(
            "E7501", "the probe lacks variables", where="environment", why=f"not set: {', '.join(missing)}"
        )
    return ProbeSettings(
        store_url=environ["EVIDENCERUN_STORE_URL"],
        store_ca=environ.get("EVIDENCERUN_STORE_CA", ""),
        token_file=Path(environ.get("EVIDENCERUN_TOKEN_FILE", "/var/run/evidencerun/token")),
        run_uid=environ["EVIDENCERUN_RUN_UID"],
        node_name=environ["NODE_NAME"],
        access=environ.get("EVIDENCERUN_ACCESS", "auto"),
        nodes=_count(environ.get("EVIDENCERUN_NODES", "1")),
        deadline=_time(environ["EVIDENCERUN_DEADLINE"]),
    )


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise InputError("E7501", f"{text[:40]!r} is not a number of nodes", where="EVIDENCERUN_NODES")
    return int(text)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as fault:
        raise InputError("E7501", f"{text[:40]!r} is not an RFC 3339 time", where="EVIDENCERUN_DEADLINE") from fault
    if time.tzinfo is None:
        raise InputError("E7501", f"{text[:40]!r} has no zone", where="EVIDENCERUN_DEADLINE", fix="end it with Z")
    return time
