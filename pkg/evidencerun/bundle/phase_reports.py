# SPDX-License-Identifier: Apache-2.0
"""The CTRF reports of a run, made from run.json alone, so that a verifier makes them again and compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evidencerun.bundle import layout
from evidencerun.bundle.checks import epoch_milliseconds
from evidencerun.bundle.record import CheckRun, RunRecord
from evidencerun.ctrf.redact import ATTEMPTS_KEY, REASON_KEY
from evidencerun.ctrf.report import CtrfTest, CtrfTool, write_ctrf
from evidencerun.validation.outcome import shown_reason
from evidencerun.validation.spec import Phase
from evidencerun.validation.storeapi import CheckStatus

_MESSAGE_MAX: Final = 4096


def phases_of(record: RunRecord) -> list[Phase]:
    """Return the phases with at least one declared check, in the order in which they run."""
    declared = {check.phase for check in record.checks}
    return [phase for phase in Phase if phase in declared]


def phase_reports(record: RunRecord) -> dict[str, bytes]:
    """Return the bytes of `ctrf/<phase>.json` by path."""
    return {layout.ctrf_path(phase): _report(record, phase) for phase in phases_of(record)}


def _report(record: RunRecord, phase: Phase) -> bytes:
    checks = [check for check in record.checks if check.phase is phase]
    times = [(attempt.started_at, attempt.finished_at) for check in checks for attempt in check.attempts]
    return write_ctrf(
        [_test(check) for check in checks],
        tool=CtrfTool(name=record.producer.name, version=record.producer.version),
        timestamp=record.seal.sealed_at,
        start=_edge([start for start, _ in times], latest=False),
        stop=_edge([stop for _, stop in times], latest=True),
        environment={
            "appName": record.producer.name,
            "appVersion": record.producer.version,
            "testEnvironment": "kubernetes",
        },
    )


def _edge(times: Sequence[str], *, latest: bool) -> int:
    known = [moment for text in times if (moment := epoch_milliseconds(text))]
    return (max if latest else min)(known, default=0)


def _test(check: CheckRun) -> CtrfTest:
    extra = dict(check.extra)
    if check.reason:
        extra[REASON_KEY] = check.reason
    if len(check.attempts) > 1:
        extra[ATTEMPTS_KEY] = str(len(check.attempts))
    return CtrfTest(
        name=check.name,
        status=check.status,
        duration=check.attempts[-1].duration if check.attempts else 0,
        suite=[check.phase.value],
        message=_message(check)[:_MESSAGE_MAX] or None,
        extra=dict(sorted(extra.items())) or None,
        runtime_provenance=dict(check.provenance) or None,
    )


def _message(check: CheckRun) -> str:
    if check.message or check.status is CheckStatus.PASSED:
        return check.message
    if why := shown_reason(check.reason, check.extra):
        return f"{check.status.value}: {why}"
    code = check.attempts[-1].exit_code if check.attempts else None
    return f"{check.status.value} with exit code {code}" if code is not None else check.status.value
