# SPDX-License-Identifier: Apache-2.0
"""The ledger of attempts: what was started, on which pod, how it ended and how that was judged.

An entry is written before the Job exists and is never removed before the run is closed, so that no attempt can be
made to disappear: a pass after a fail shows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from evidencerun import limits
from evidencerun.store.refusals import conflict
from evidencerun.validation.outcome import Reason, began
from evidencerun.validation.spec import CatalogEntry, Name, Phase, SpecModel
from evidencerun.validation.storeapi import (
    AttemptRequest,
    AttemptState,
    AttemptView,
    CheckStatus,
    ContainerEnding,
    PodRef,
)

AttemptKey = tuple[str, int]
"""Check name and attempt number, from 1."""


class LogFacts(SpecModel):
    """What is kept of a log. `dropped` bytes were left out in its middle; `reason` says why it is not complete."""

    size: int = 0
    dropped: int = 0
    complete: bool = False
    reason: str = ""
    container: ContainerEnding | None = None
    """Start and image of the container whose log it is, as they were seen; absent if it was never seen started."""


class Judged(SpecModel):
    """The end of an attempt, written once."""

    ending: ContainerEnding
    seen_by: str
    """`store` if the store read the pod itself, else `operator`."""
    status: CheckStatus
    reason: str = ""
    message: str = ""
    log: LogFacts
    results: Annotated[list[str], Field(default_factory=list, max_length=limits.RESULT_FILES_MAX)]
    judged_at: str


class LedgerEntry(SpecModel):
    """One attempt. `pods` has more than one element only if the Job controller replaced a pod."""

    check: Name
    phase: Phase
    attempt: int
    job_name: str
    image: str
    created_at: str
    pods: Annotated[list[PodRef], Field(default_factory=list, max_length=16)]
    ended_at: str = ""
    """When the operator said that it is over; empty before."""
    told: ContainerEnding | None = None
    """What the operator saw."""
    judged: Judged | None = None

    @property
    def key(self) -> AttemptKey:
        """Check and number."""
        return (self.check, self.attempt)

    @property
    def state(self) -> AttemptState:
        """Where the attempt is; it counts as ended only when it is judged."""
        if self.judged is not None:
            return AttemptState.ENDED
        return AttemptState.RUNNING if self.pods else AttemptState.CREATED

    @property
    def ending(self) -> ContainerEnding | None:
        """How it ended; None before. Who gives a container up does not see its start: what its follower saw stands in.

        A judgement that it never started is left alone.
        """
        if self.judged is None:
            return None
        ending, seen = self.judged.ending, self.judged.log.container
        if seen is None or began(ending) or self.judged.reason == Reason.NOT_STARTED:
            return ending
        return ending.model_copy(
            update={
                "started_at": seen.started_at,
                "image": ending.image or seen.image,
                "image_id": ending.image_id or seen.image_id,
            }
        )

    def view(self, results: list[str]) -> AttemptView:
        """Return what the operator is told; `results` are the files uploaded so far."""
        judged, ending = self.judged, self.ending
        return AttemptView(
            check=self.check,
            phase=self.phase,
            attempt=self.attempt,
            job_name=self.job_name,
            created_at=self.created_at,
            state=self.state,
            started=ending is not None and began(ending),
            status=judged.status if judged else CheckStatus.PENDING,
            reason=judged.reason if judged else "",
            message=judged.message if judged else "",
            log_bytes=judged.log.size if judged else 0,
            log_complete=judged.log.complete if judged else False,
            log_reason=judged.log.reason if judged else "",
            results=judged.results if judged else results,
        )


def job_name(run_uid: str, check: str, attempt: int) -> str:
    """Return the one name that the Job of an attempt may have."""
    return f"ev-{run_uid[:8]}-{check}-{attempt}"


def new_entry(
    request: AttemptRequest,
    *,
    run_uid: str,
    catalog: Mapping[tuple[str, Phase], CatalogEntry],
    ledger: Mapping[AttemptKey, LedgerEntry],
    now: str,
) -> LedgerEntry:
    """Return the entry for a new attempt; raises `RefusalError` 409 if the plan or the ledger does not allow it."""
    entry = catalog.get((request.check, request.phase))
    if entry is None:
        raise conflict(f"the plan has no check {request.check} in phase {request.phase} that may run")
    expected = job_name(run_uid, request.check, request.attempt)
    if request.job_name != expected:
        raise conflict("the Job has another name than its attempt", why=f"{request.job_name}, expected {expected}")
    if request.image and request.image != entry.image:
        raise conflict("the image is not the catalog's", why=f"{request.image}, expected {entry.image}")
    if request.attempt > limits.ATTEMPTS_MAX:
        raise conflict(f"check {request.check} has had {limits.ATTEMPTS_MAX} attempts", why="no more are allowed")
    before = ledger.get((request.check, request.attempt - 1))
    if request.attempt > 1 and (before is None or before.judged is None):
        raise conflict(
            f"attempt {request.attempt - 1} of {request.check} has not ended", why="attempts follow one another"
        )
    return LedgerEntry(
        check=request.check,
        phase=request.phase,
        attempt=request.attempt,
        job_name=request.job_name,
        image=entry.image,
        created_at=now,
        pods=[],
    )


def check_same(entry: LedgerEntry, request: AttemptRequest) -> None:
    """Refuse (409) news that contradicts the ledger's entry."""
    if (entry.job_name, entry.phase) != (request.job_name, request.phase):
        found = f"{request.phase}/{request.job_name}, stored is {entry.phase}/{entry.job_name}"
        raise conflict(f"attempt {request.attempt} of {request.check} is another in the ledger", why=found)
