# SPDX-License-Identifier: Apache-2.0
"""From the plan and the ledger to one record per declared check (docs/spec §5).

A check without an attempt has an outcome too: not in the catalog, excluded by the run, or not run because the run
ended before. Nothing is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from evidencerun import limits
from evidencerun.bom.images import image_digest
from evidencerun.bundle import layout
from evidencerun.bundle.check_results import IMAGES_FILE, read_images, read_measurements
from evidencerun.bundle.inputs import AttemptRecord
from evidencerun.bundle.record import AttemptRun, CheckRun, LogRecord, ObservedImage, ResultFile
from evidencerun.bundle.redaction import REPLACED
from evidencerun.canonical import sha256_prefixed
from evidencerun.ctrf.redact import published_extra, published_provenance
from evidencerun.errors import EvidenceError
from evidencerun.validation.outcome import CLAIMS, Reason, began, reserved_lines
from evidencerun.validation.plan import Plan, PlannedCheck
from evidencerun.validation.spec import LogsMode, Redaction
from evidencerun.validation.storeapi import AttemptState, AttemptView, ContainerEnding
from evidencerun.validation.verdict import CheckRecord, derive_checks

_MESSAGE_MAX: Final = 1024
_TAIL: Final = 256 * limits.KIB
"""How much of the end of a log is searched for reserved lines."""
_WITHOUT_ATTEMPT: Final[Mapping[str, str]] = {
    Reason.EXCLUDED: "the run's own selection leaves this check out",
    Reason.NOT_IN_CATALOG: "the policy's catalog has no check of this name in this phase",
    Reason.NOT_RUN: "the run ended before this check began",
}

Rewrite = Callable[[str], str]
"""Replaces identifiers in free text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What the records of all checks have in common."""

    plan: Plan
    rewrite: Rewrite
    fired: Counter[str] = field(default_factory=Counter)
    """How often a redaction rule fired."""

    @property
    def publishes_everything(self) -> bool:
        """Whether the policy asks for no redaction."""
        return self.plan.policy_spec.redaction is Redaction.NONE

    def ours(self, check: PlannedCheck) -> bool:
        """Whether the check is one of ours: it runs our own image."""
        return check.entry is not None and check.entry.image == self.plan.images.evidencerun

    def may_say(self, check: PlannedCheck) -> bool:
        """Whether the check's own words may be published."""
        return self.publishes_everything or self.ours(check)

    def node(self, name: str) -> str:
        """Return a node's name as it may be published; what is no identifier of a node is left out."""
        found = self.rewrite(name)
        if self.publishes_everything or REPLACED.fullmatch(found):
            return found
        self.fired["results.omit:node"] += 1
        return ""


def check_runs(context: CheckContext, attempts: Sequence[AttemptRecord]) -> tuple[list[CheckRun], list[ObservedImage]]:
    """Return one record per planned check, in the plan's order, and the images that checks saw.

    Raises:
        EvidenceError: E2050, a container ran and the kubelet's imageID of it holds no digest, or the ledger holds an
            attempt of a check that the plan does not know.

    """
    planned = {(check.phase, check.name) for check in context.plan.checks}
    if strange := [record.view for record in attempts if (record.view.phase, record.view.check) not in planned]:
        raise EvidenceError(
            "E2050", "the ledger holds an attempt of a check that is not planned", where=strange[0].check
        )
    observed: list[ObservedImage] = []
    runs = []
    outcomes = derive_checks(context.plan, [record.view for record in attempts])
    for check, outcome in zip(context.plan.checks, outcomes, strict=True):
        own = [record for record in attempts if (record.view.phase, record.view.check) == (check.phase, check.name)]
        own.sort(key=lambda record: record.view.attempt)
        runs.append(_check(context, check, outcome, own, observed))
    return runs, observed


def _check(
    context: CheckContext,
    check: PlannedCheck,
    outcome: CheckRecord,
    attempts: list[AttemptRecord],
    observed: list[ObservedImage],
) -> CheckRun:
    extra, provenance = _reserved(attempts[-1].log) if attempts else ({}, {})
    return CheckRun(
        name=check.name,
        phase=check.phase,
        catalogued=check.entry is not None,
        excluded=check.excluded,
        mandatory=check.entry.mandatory if check.entry else False,
        status=outcome.status,
        reason=outcome.reason,
        message=_message(context, check, attempts[-1].view.message) if attempts else _WITHOUT_ATTEMPT[outcome.reason],
        extra=published_extra(extra, context.fired),
        provenance=published_provenance(provenance, context.fired),
        attempts=[_attempt(context, check, record, observed) for record in attempts],
    )


def _reserved(log: bytes) -> tuple[dict[str, str], dict[str, object]]:
    return reserved_lines(log[-_TAIL:].decode(errors="replace"))


def _message(context: CheckContext, check: PlannedCheck, text: str) -> str:
    """Return what may be published of a check's own words: all of it, ours with identifiers replaced, or nothing."""
    if context.publishes_everything:
        return text
    if text and not context.may_say(check):
        context.fired["ctrf.tests.omit:message"] += 1
        return ""
    return context.rewrite(text)[:_MESSAGE_MAX]


def _attempt(
    context: CheckContext, check: PlannedCheck, record: AttemptRecord, observed: list[ObservedImage]
) -> AttemptRun:
    view, ending, notes = record.view, record.ending, list[str]()
    measurements = read_measurements(record.results, notes)
    if context.ours(check):
        observed += read_images(record.results, notes, known=observed)
    elif IMAGES_FILE in record.results and context.publishes_everything:
        notes.append(f"{IMAGES_FILE} was not used: only a check of our own is believed about what runs")
    elif IMAGES_FILE in record.results:
        context.fired["results.omit:images"] += 1
    image_id = _image_that_ran(view, ending) if ending else ""
    started, finished = (ending.started_at, ending.finished_at) if ending else ("", "")
    return AttemptRun(
        attempt=view.attempt,
        job_name=view.job_name,
        state=view.state,
        status=view.status,
        reason=view.reason,
        exit_code=ending.exit_code if ending else None,
        signal=ending.signal if ending else None,
        ending=ending.reason if ending else "",
        started_at=started,
        finished_at=finished,
        duration=milliseconds(started, finished),
        image=check.entry.image if check.entry else "",
        image_id=image_id,
        image_digest=image_digest(image_id),
        log=_log(context, check, record),
        results=[
            ResultFile(name=name, size=len(data), sha256=sha256_prefixed(data))
            for name, data in sorted(record.results.items())[: limits.RESULT_FILES_MAX]
        ],
        measurements=[m.model_copy(update={"node": context.node(m.node)}) for m in measurements],
        notes=[context.rewrite(note) for note in notes],
    )


def _image_that_ran(view: AttemptView, ending: ContainerEnding) -> str:
    """Return the kubelet's imageID of a container that started; a container that was only made has run nothing."""
    if not began(ending):
        return ""
    if view.status in CLAIMS and not image_digest(ending.image_id):
        raise EvidenceError(
            "E2050",
            "a container ran whose image has no digest",
            where=f"{view.check} attempt {view.attempt}",
            why=f"the kubelet's imageID is {ending.image_id[:120]!a}",
        )
    return ending.image_id


def _log(context: CheckContext, check: PlannedCheck, record: AttemptRecord) -> LogRecord:
    bundled = context.plan.spec.logs is LogsMode.BUNDLED
    complete = record.view.log_complete and record.view.state is AttemptState.ENDED and not record.log_truncated
    cut = f"{record.log_truncated} bytes were dropped" if record.log_truncated else "nobody saw its end"
    return LogRecord(
        size=len(record.log),
        dropped=record.log_truncated,
        complete=complete,
        reason="" if complete else context.rewrite(record.view.log_reason or cut)[:_MESSAGE_MAX],
        sha256=sha256_prefixed(record.log) if record.log else "",
        path=layout.log_path(check.phase, check.name, record.view.attempt) if bundled and record.log else "",
    )


def milliseconds(start: str, stop: str) -> int:
    """Return the whole milliseconds between two RFC 3339 times; 0 if one is not known or they are in reverse order."""
    try:
        return max(0, round((datetime.fromisoformat(stop) - datetime.fromisoformat(start)).total_seconds() * 1000))
    except (ValueError, TypeError):
        return 0


def epoch_milliseconds(text: str) -> int:
    """Return milliseconds since 1970 of an RFC 3339 time; 0 if it is not known.

    A time without a zone is taken as UTC: the zone of the machine that verifies must not change the answer.
    """
    try:
        moment = datetime.fromisoformat(text)
        return max(0, round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000))
    except ValueError:
        return 0
