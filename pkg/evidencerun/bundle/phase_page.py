# SPDX-License-Identifier: Apache-2.0
"""evidence/<phase>.md: one page per phase for people, made from run.json alone; everything in it is escaped."""

from __future__ import annotations

from collections.abc import Iterator

from evidencerun.bundle import layout
from evidencerun.bundle.derive import ending_of
from evidencerun.bundle.escape import markdown
from evidencerun.bundle.phase_reports import phases_of
from evidencerun.bundle.record import AttemptRun, CheckRun, RunRecord
from evidencerun.validation.outcome import began, shown_reason
from evidencerun.validation.spec import Phase
from evidencerun.validation.storeapi import CheckStatus


def phase_pages(record: RunRecord) -> dict[str, bytes]:
    """Return the bytes of `evidence/<phase>.md` by path."""
    return {layout.page_path(phase): _page(record, phase) for phase in phases_of(record)}


def _page(record: RunRecord, phase: Phase) -> bytes:
    return ("\n".join(_lines(record, phase)) + "\n").encode()


def _lines(record: RunRecord, phase: Phase) -> Iterator[str]:
    checks = [check for check in record.checks if check.phase is phase]
    yield f"# {phase.value.capitalize()}: {markdown(record.plan.recipe_name)}"
    yield ""
    yield (
        f"Run {markdown(record.plan.run.namespace)}/{markdown(record.plan.run.name)}, "
        f"sealed {markdown(record.seal.sealed_at)}, verdict of the whole run: {record.verdict.value}."
    )
    if record.trust.synthetic:
        markers = ", ".join(markdown(marker) for marker in record.trust.markers)
        yield ""
        yield f"**Synthetic: the hardware is simulated ({markers}).**"
    yield ""
    yield _counts(checks)
    yield ""
    yield "| check | outcome | reason | attempts | duration | image that ran |"
    yield "|---|---|---|---|---|---|"
    yield from (_row(check) for check in checks)
    for check in checks:
        yield from _details(check)


def _counts(checks: list[CheckRun]) -> str:
    found = {status: sum(check.status is status for check in checks) for status in CheckStatus}
    words = ", ".join(f"{count} {status.value}" for status, count in found.items() if count)
    return f"{len(checks)} declared: {words}."


def _row(check: CheckRun) -> str:
    last = check.attempts[-1] if check.attempts else None
    image = f"`{last.image_digest}`" if last and last.image_digest else "none"
    duration = _duration(last) if last else ""
    cells = [
        markdown(check.name),
        check.status.value,
        markdown(shown_reason(check.reason, check.extra)),
        str(len(check.attempts)),
        duration,
        image,
    ]
    return f"| {' | '.join(cells)} |"


def _details(check: CheckRun) -> Iterator[str]:
    numbers = check.attempts[-1].measurements if check.attempts else []
    cut = [attempt for attempt in check.attempts if not attempt.log.complete]
    if not (check.message or numbers or cut or len(check.attempts) > 1):
        return
    yield ""
    yield f"## {markdown(check.name)}"
    if check.message:
        yield ""
        yield markdown(" ".join(check.message.split()), at_most=1024)
    if len(check.attempts) > 1:
        yield ""
        yield from (f"- {_attempt(attempt)}" for attempt in check.attempts)
    if cut:
        yield ""
        yield from (f"- the log of attempt {each.attempt} is not whole: {markdown(each.log.reason)}" for each in cut)
    if numbers:
        yield ""
        yield "| measured | value | unit | node |"
        yield "|---|---|---|---|"
        for number in numbers:
            cells = [markdown(number.name), str(number.value), markdown(number.unit), markdown(number.node)]
            yield f"| {' | '.join(cells)} |"


def _attempt(attempt: AttemptRun) -> str:
    reason = f" ({markdown(attempt.reason)})" if attempt.reason else ""
    return f"attempt {attempt.attempt}: {attempt.status.value}{reason}, {_duration(attempt)}"


def _duration(attempt: AttemptRun) -> str:
    if attempt.started_at and attempt.finished_at:
        return f"{attempt.duration} ms"
    return "of unknown duration" if began(ending_of(attempt)) else "did not start"
