# SPDX-License-Identifier: Apache-2.0
"""How a check says what it found: exit code, termination message, reserved lines on stdout.

0 passed, 1 failed, 2 skipped (always with a stated reason), 3 could not look. An uncaught error of Python would exit 1,
which means "failed": `checks.main` turns it into 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TextIO

from evidencerun import limits


class Ending(StrEnum):
    """How a check ends, in CTRF's words.

    The words are those of `validation.storeapi.CheckStatus`, which brings pydantic along: a second enum halves the
    time until a check starts to look.
    """

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    OTHER = "other"


DETAILS_SCHEMA: Final = "https://evidencerun.dev/schemas/check-details/v1"
EXIT_CODES: Final[Mapping[Ending, int]] = {
    Ending.PASSED: 0,
    Ending.FAILED: 1,
    Ending.SKIPPED: 2,
    Ending.OTHER: 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The end of a check.

    `message` is for people, its first line says all. `lines` are findings, printed as `RESULT: …`. `extra` holds
    counts and closed words for AICR's `extra` member.
    """

    status: Ending
    message: str
    lines: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The container's exit code."""
        return EXIT_CODES[self.status]


def skipped(reason: str, message: str, **extra: str) -> CheckResult:
    """Return a skip. Its closed word stands in `extra` and in the message: a bare exit 2 proves nothing."""
    return CheckResult(
        status=Ending.SKIPPED,
        message=f"skipped ({reason}): {message}",
        extra={"skipReason": reason, **extra},
    )


def details_document(check: str, items: Sequence[Mapping[str, str | int]]) -> dict[str, Any]:
    """Return the content of a check's /results/details.json."""
    return {"schema": DETAILS_SCHEMA, "check": check, "items": list(items)}


def emit(result: CheckResult, *, out: TextIO, termination_log: Path) -> int:
    """Write stdout and the termination message; return the exit code."""
    out.writelines(f"RESULT: {_one_line(line)}\n" for line in result.lines)
    if result.extra:
        out.write(f"##AICR-EXTRA## {json.dumps(dict(result.extra), sort_keys=True)}\n")
    out.write(f"{result.message}\n")
    out.flush()
    try:
        termination_log.write_bytes(shortened(result.message, limits.TERMINATION_MESSAGE_MAX))
    except OSError as fault:
        out.write(f"the termination message cannot be written: {fault}\n")
        out.flush()
    return result.exit_code


def shortened(text: str, most: int) -> bytes:
    """Return at most `most` bytes of UTF-8: whole lines, and how many more there were."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return data
    lines = text.splitlines()
    kept: list[str] = []
    room = most - 32
    for line in lines:
        size = len(line.encode("utf-8", "replace")) + 1
        if size > room:
            break
        kept.append(line)
        room -= size
    if not kept:
        return data[: most - 4].decode("utf-8", "ignore").encode() + b" ..."
    return "\n".join([*kept, f"... and {len(lines) - len(kept)} more lines"]).encode("utf-8", "replace")


def _one_line(text: str) -> str:
    return " ".join(text.split())
