# SPDX-License-Identifier: Apache-2.0
"""The sidecar's settings, from the variables of its container."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evidencerun.errors import InputError

_GO_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_DEFAULT_TIMEOUT: Final = "5m0s"


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSettings:
    """All that the operator tells a sidecar; paths can be moved for tests."""

    store_url: str
    store_ca: str
    token_file: Path
    run_uid: str
    check: str
    attempt: int
    timeout_seconds: float
    data: Path = Path("/data")
    results: Path = Path("/results")
    ready: Path = Path("/tmp/ready")  # noqa: S108 - the pod's own emptyDir


def sidecar_settings(environ: Mapping[str, str]) -> SidecarSettings:
    """Return the settings. Raises `InputError` E7601 that names every variable that is missing or wrong."""
    required = ("EVIDENCERUN_STORE_URL", "EVIDENCERUN_RUN_UID", "EVIDENCERUN_CHECK", "EVIDENCERUN_ATTEMPT")
    missing = [name for name in required if not environ.get(name)]
    if missing:
        why = f"not set: {', '.join(missing)}"
        raise InputError("E7601", "the sidecar lacks variables", where="environment", why=why)
    attempt = environ["EVIDENCERUN_ATTEMPT"]
    if not re.fullmatch(r"[1-9][0-9]{0,2}", attempt):
        raise InputError("E7601", f"{attempt[:40]!r} is not an attempt", where="EVIDENCERUN_ATTEMPT")
    return SidecarSettings(
        store_url=environ["EVIDENCERUN_STORE_URL"],
        store_ca=environ.get("EVIDENCERUN_STORE_CA", ""),
        token_file=Path(environ.get("EVIDENCERUN_TOKEN_FILE", "/var/run/evidencerun/token")),
        run_uid=environ["EVIDENCERUN_RUN_UID"],
        check=environ["EVIDENCERUN_CHECK"],
        attempt=int(attempt),
        timeout_seconds=go_seconds(environ.get("AICR_CHECK_TIMEOUT") or _DEFAULT_TIMEOUT),
        data=Path(environ.get("EVIDENCERUN_DATA", "/data")),
        results=Path(environ.get("EVIDENCERUN_RESULTS", "/results")),
        ready=Path(environ.get("EVIDENCERUN_READY_FILE", "/tmp/ready")),  # noqa: S108
    )


def go_seconds(text: str) -> float:
    """Return the seconds of a Go duration of whole hours, minutes and seconds (`8m0s`)."""
    match = _GO_DURATION.fullmatch(text)
    if not text or len(text) > 20 or match is None:
        raise InputError(
            "E7601", f"{text[:40]!r} is not a duration", where="AICR_CHECK_TIMEOUT", fix="write it like 8m0s"
        )
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)
