# SPDX-License-Identifier: Apache-2.0
"""Judges how a check's container ended: the one truth table (docs/spec §6).

Exit code 0 is passed and 1 failed, if the container itself came to its end. 2 is a skip only with a stated reason: a
Go program that panics exits 2 as well. Everything else, and every ending that somebody else brought about, is other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from evidencerun import limits
from evidencerun.canonical import parse_json
from evidencerun.errors import InputError
from evidencerun.validation.storeapi import CheckStatus, ContainerEnding

RESULT_PREFIX: Final = "RESULT:"
EXTRA_PREFIX: Final = "##AICR-EXTRA## "
PROVENANCE_PREFIX: Final = "##AICR-PROVENANCE## "
SKIP_REASON: Final = "skipReason"


class Reason(StrEnum):
    """Why a check is other or skipped; empty for passed and failed."""

    NONE = ""
    STATED = "stated"
    """Skipped, and the check said why."""
    EXCLUDED = "excluded"
    """Skipped by the run's own selection."""
    NO_SKIP_REASON = "no-skip-reason"
    """Exit code 2 without a reason: a panic does the same."""
    PANIC = "panic"
    """Exit code 2 with the text of a crash in place of a reason."""
    EXIT_CODE = "exit-code"
    """An exit code outside the contract."""
    SIGNAL = "signal"
    """Ended by a signal that nobody explains."""
    OOM_KILLED = "oom-killed"
    TIMEOUT = "timeout"
    EVICTED = "evicted"
    """Pressure on the node, preemption or a taint."""
    NODE_LOST = "node-lost"
    POD_DELETED = "pod-deleted"
    INTERRUPTED = "interrupted"
    """Ended by something that is not the check's own doing, for which there is no other word here."""
    RUN_ENDED = "run-ended"
    """The run was cancelled or its deadline came while the check was under way."""
    IMAGE_PULL = "image-pull"
    START_ERROR = "start-error"
    """The kubelet could not create or start the container."""
    UNSCHEDULABLE = "unschedulable"
    ADMISSION = "admission"
    """The API server refused the pod."""
    NOT_STARTED = "not-started"
    """It never started, and nobody says why."""
    IMAGE_UNKNOWN = "image-unknown"
    """It ended by itself, and the kubelet does not say which image ran."""
    NO_ENDING = "no-ending"
    """It started, and nobody knows how it ended."""
    NOT_IN_CATALOG = "not-in-catalog"
    NOT_RUN = "not-run"
    """The run ended before its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOutcome:
    """The judgement. `extra` and `provenance` are what the check printed behind the reserved prefixes."""

    status: CheckStatus
    reason: Reason
    message: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)


_INTERVENTIONS: Final[Mapping[str, Reason]] = {
    "OOMKilled": Reason.OOM_KILLED,
    "DeadlineExceeded": Reason.TIMEOUT,
    "Timeout": Reason.TIMEOUT,
    "Evicted": Reason.EVICTED,
    "Preempted": Reason.EVICTED,
    "Preempting": Reason.EVICTED,
    "PreemptionByScheduler": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
    "NodeLost": Reason.NODE_LOST,
    "NodeShutdown": Reason.NODE_LOST,
    "Terminated": Reason.NODE_LOST,
    "ContainerStatusUnknown": Reason.NODE_LOST,
    "PodGone": Reason.POD_DELETED,
    "JobDeleted": Reason.POD_DELETED,
    "PodDeleted": Reason.POD_DELETED,
    "Deleted": Reason.POD_DELETED,
    "ErrImagePull": Reason.IMAGE_PULL,
    "ImagePullBackOff": Reason.IMAGE_PULL,
    "ErrImageNeverPull": Reason.IMAGE_PULL,
    "InvalidImageName": Reason.IMAGE_PULL,
    "ImageInspectError": Reason.IMAGE_PULL,
    "RegistryUnavailable": Reason.IMAGE_PULL,
    "SignatureValidationFailed": Reason.IMAGE_PULL,
    "CreateContainerConfigError": Reason.START_ERROR,
    "CreateContainerError": Reason.START_ERROR,
    "RunContainerError": Reason.START_ERROR,
    "ContainerCannotRun": Reason.START_ERROR,
    "StartError": Reason.START_ERROR,
    "PostStartHookError": Reason.START_ERROR,
    "CrashLoopBackOff": Reason.START_ERROR,
    "FailedMount": Reason.START_ERROR,
    "FailedCreatePodSandBox": Reason.START_ERROR,
    "UnexpectedAdmissionError": Reason.START_ERROR,
    "Unschedulable": Reason.UNSCHEDULABLE,
    "FailedScheduling": Reason.UNSCHEDULABLE,
    "SchedulingGated": Reason.UNSCHEDULABLE,
    "Cancelled": Reason.RUN_ENDED,
    "RunCancelled": Reason.RUN_ENDED,
    "RunDeadline": Reason.RUN_ENDED,
    "RunDeadlineExceeded": Reason.RUN_ENDED,
    "RunEnded": Reason.RUN_ENDED,
    "FailedCreate": Reason.ADMISSION,
    "Forbidden": Reason.ADMISSION,
}
"""The API's words for endings that are not the check's own. They outweigh the exit code: a check that exits 0 while it
is being killed has not passed."""
_BY_ITSELF: Final = frozenset({"", "Completed", "Error"})
"""The words for a container that ended by itself. Only with these does an exit code count: what another word means,
from a newer kubelet or another runtime, is not known."""

_CRASH: Final = re.compile(
    r"^(?:panic: |fatal error: |goroutine \d+ \[|Traceback \(most recent call last\):)", re.MULTILINE
)
_LOWEST_SIGNAL_CODE: Final = 128


def judge(
    ending: ContainerEnding,
    *,
    log_tail: str = "",
    uploaded: Collection[str] = (),
    skip_reason: str = "",
) -> CheckOutcome:
    """Return what an attempt amounts to.

    `log_tail` is the end of the container's log, `uploaded` the names of the files that came of /results, and
    `skip_reason` a reason to skip that reached the store in another way. Never raises: lines that break their form are
    ordinary output.
    """
    extra, provenance = reserved_lines(log_tail)
    stated = skip_reason or extra.get(SKIP_REASON, "") or ending.message.strip()
    status, reason = _status(ending, stated)
    return CheckOutcome(
        status=status,
        reason=reason,
        message=_message(ending, reason, stated, uploaded)[: limits.TERMINATION_MESSAGE_MAX],
        extra=extra,
        provenance=provenance,
    )


def _status(ending: ContainerEnding, stated: str) -> tuple[CheckStatus, Reason]:
    if (intervention := _INTERVENTIONS.get(ending.reason)) is not None:
        late = intervention is Reason.TIMEOUT and not began(ending)
        return CheckStatus.OTHER, Reason.NOT_STARTED if late else intervention
    if ending.signal:
        return CheckStatus.OTHER, Reason.SIGNAL
    if ending.exit_code is not None and ending.reason not in _BY_ITSELF:
        return CheckStatus.OTHER, Reason.INTERRUPTED
    match ending.exit_code:
        case None:
            return CheckStatus.OTHER, Reason.NO_ENDING if began(ending) else Reason.NOT_STARTED
        case 0:
            return CheckStatus.PASSED, Reason.NONE
        case 1:
            return CheckStatus.FAILED, Reason.NONE
        case 2 if not stated:
            return CheckStatus.OTHER, Reason.NO_SKIP_REASON
        case 2 if _CRASH.search(stated):
            return CheckStatus.OTHER, Reason.PANIC
        case 2:
            return CheckStatus.SKIPPED, Reason.STATED
        case code if code > _LOWEST_SIGNAL_CODE:
            return CheckStatus.OTHER, Reason.SIGNAL
        case _:
            return CheckStatus.OTHER, Reason.EXIT_CODE


CLAIMS: Final = frozenset({CheckStatus.PASSED, CheckStatus.FAILED, CheckStatus.SKIPPED})
"""Outcomes that a check states itself; whose words they are must be known, down to the image that said them."""


def _set_aside(outcome: CheckOutcome, reason: Reason) -> CheckOutcome:
    """Return the outcome with a reason for which nothing counts that the check says itself."""
    if outcome.status not in CLAIMS:
        return outcome
    said = f": {outcome.message}" if outcome.message else ""
    return replace(
        outcome,
        status=CheckStatus.OTHER,
        reason=reason,
        message=f"{_SENTENCES[reason]}{said}"[: limits.TERMINATION_MESSAGE_MAX],
    )


def without_image(outcome: CheckOutcome) -> CheckOutcome:
    """Return what an attempt amounts to if nobody knows which image ran."""
    return _set_aside(outcome, Reason.IMAGE_UNKNOWN)


def ran_over(ending: ContainerEnding, timeout: float) -> bool:
    """Return whether a container ran longer than its check's `timeout` in seconds.

    The kubelet counts from the pod's start, pulls included, and is therefore given more; it dates in whole seconds, so
    that one second proves nothing.
    """
    try:
        ran = datetime.fromisoformat(ending.finished_at) - datetime.fromisoformat(ending.started_at)
    except (ValueError, TypeError):
        return False
    return ran.total_seconds() > timeout + 1


def over_time(outcome: CheckOutcome) -> CheckOutcome:
    """Return what an attempt amounts to that ended by itself, but after its time: nothing that it says counts."""
    return _set_aside(outcome, Reason.TIMEOUT)


def ending_contradiction(
    ending: ContainerEnding, status: CheckStatus, reason: str, *, image_known: bool, over: bool = False
) -> str:
    """Return why an attempt that ended like this cannot have this outcome; empty if it can.

    What `judge` reads in log and message is not asked for, so that it can be asked of a bundle without them. `over`
    says that it ran longer than its check may.
    """
    if over and status in CLAIMS:
        return "it ran longer than its limit"
    if not image_known and status in CLAIMS:
        return "its container ran, and the digest of its image is not known"
    if reason == Reason.IMAGE_UNKNOWN and (image_known or not began(ending)):
        return "its reason says that it ran an image that is not known"
    if reason == Reason.NOT_STARTED and began(ending):
        return "its container started, and its reason says that it did not"
    disturbed = ending.signal or ending.reason not in _BY_ITSELF
    by_code = None if disturbed else {0: CheckStatus.PASSED, 1: CheckStatus.FAILED}.get(ending.exit_code or 0)
    if ending.exit_code is None or not image_known or over:
        by_code = None
    match status:
        case CheckStatus.PENDING:
            return "it has ended and no outcome"
        case CheckStatus.PASSED | CheckStatus.FAILED:
            return "" if status is by_code and not reason else f"it cannot have {status.value} with this ending"
        case _ if by_code is not None:
            return f"it {by_code.value}, and says {status.value}"
        case CheckStatus.SKIPPED:
            stated = ending.exit_code == 2 and not disturbed and reason == Reason.STATED
            return "" if stated else "a check skips with exit code 2 and a reason, and in no other way"
        case _:
            return "" if reason and reason in set(Reason) else "its reason is none of the words for it"


def shown_reason(reason: str, extra: Mapping[str, str]) -> str:
    """Return why a check has its outcome, for people; of a skip the check's own word, empty if it may not be told."""
    return extra.get(SKIP_REASON, "") if reason == Reason.STATED else reason


def began(ending: ContainerEnding) -> bool:
    """Return whether the check's container really started: what `executed` counts, everywhere.

    A start was seen, or an exit code that the container gave by itself. With another word for the ending an exit code
    shows nothing: runtimes and kubelets give one to containers that never ran.
    """
    return bool(ending.started_at) or (ending.exit_code is not None and ending.reason in _BY_ITSELF)


_SENTENCES: Final[Mapping[Reason, str]] = {
    Reason.NO_SKIP_REASON: "exit code 2 without a stated reason; a crashed program exits 2 as well",
    Reason.PANIC: "the program crashed",
    Reason.OOM_KILLED: "killed because it used more memory than its limit",
    Reason.TIMEOUT: "ran into its time limit",
    Reason.EVICTED: "its pod was evicted",
    Reason.NODE_LOST: "its node was lost",
    Reason.POD_DELETED: "its pod was deleted while it ran",
    Reason.INTERRUPTED: "it did not end by itself",
    Reason.RUN_ENDED: "the run ended while it was under way",
    Reason.IMAGE_PULL: "its image could not be pulled",
    Reason.START_ERROR: "its container could not be started",
    Reason.UNSCHEDULABLE: "no node could take its pod",
    Reason.ADMISSION: "the API server refused its pod",
    Reason.NOT_STARTED: "its container never started",
    Reason.IMAGE_UNKNOWN: "the kubelet does not say which image ran",
    Reason.NO_ENDING: "its container started and its ending is not known",
}


def _message(ending: ContainerEnding, reason: Reason, stated: str, uploaded: Collection[str]) -> str:
    """Return the check's own words where it ended by itself, else what happened, with the API's words behind it."""
    if reason in (Reason.NONE, Reason.STATED):
        return stated if reason is Reason.STATED else ending.message.strip()
    sentence = _SENTENCES.get(reason, "")
    if reason is Reason.EXIT_CODE:
        sentence = f"exit code {ending.exit_code} is neither 0, 1 nor 2"
    elif reason is Reason.SIGNAL:
        number = ending.signal or (ending.exit_code or 0) - _LOWEST_SIGNAL_CODE
        sentence = f"ended by signal {number}"
    word = f" ({ending.reason})" if ending.reason not in ("", "Error", "Completed") else ""
    kept = f"; {len(uploaded)} result files were kept" if uploaded else ""
    said = f": {ending.message.strip()}" if ending.message.strip() else ""
    return f"{sentence}{word}{kept}{said}"


def reserved_lines(text: str) -> tuple[dict[str, str], dict[str, object]]:
    """Return (extra, provenance) of the last well-formed line behind each reserved prefix."""
    extra: dict[str, str] = {}
    provenance: dict[str, object] = {}
    for line in text.splitlines():
        if line.startswith(EXTRA_PREFIX):
            found = _json_map(line.removeprefix(EXTRA_PREFIX))
            if found is not None and all(isinstance(value, str) for value in found.values()):
                extra = {key: str(value) for key, value in found.items()}
        elif line.startswith(PROVENANCE_PREFIX):
            provenance = _json_map(line.removeprefix(PROVENANCE_PREFIX)) or provenance
    return extra, provenance


def visible_lines(text: str) -> list[str]:
    """Return the lines of a log without those that are meant for machines."""
    return [line for line in text.splitlines() if not line.startswith((EXTRA_PREFIX, PROVENANCE_PREFIX))]


def _json_map(text: str) -> dict[str, object] | None:
    try:
        found = parse_json(text.encode(), what="a reserved line", max_bytes=limits.RESERVED_LINE_MAX)
    except (InputError, UnicodeEncodeError):
        return None
    return found if isinstance(found, dict) else None
