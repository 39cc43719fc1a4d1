# SPDX-License-Identifier: Apache-2.0
"""When an attempt of a check is over, and why, in the cases in which its container never says so itself; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from evidencerun.validation.duration import parse_duration
from evidencerun.validation.spec import CatalogEntry
from evidencerun.validation.storeapi import AttemptState, AttemptView, ContainerEnding
from evidencerun_operator.render_jobs import GRACE_SECONDS
from evidencerun_operator.timestamps import seconds_since
from evidencerun_operator.views import ChildView, PodView
from evidencerun_operator.world import ActiveWorld

PULL_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"})
DEFINITE_REASONS: Final = frozenset(
    {
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_NO_SUCH_IMAGE: Final = re.compile(
    r"not found|manifest unknown|name unknown|unauthorized|denied|forbidden|invalid reference|no such image",
    re.IGNORECASE,
)
_SKIP_EXIT: Final = 2
"""Exit code of a check that skips itself."""
DEFINITE_GRACE: Final = 20
"""Seconds before a fault that will not heal ends an attempt; long enough for people and tools to see it."""
PULL_GRACE: Final = 120
"""Seconds for a registry that is slow or away for a moment."""
CREATE_GRACE: Final = 20
"""Seconds before a pod that the API refuses (quota, Pod Security) ends the attempt."""
REFUSED_GRACE: Final = 60
"""Seconds before a Job that the API refuses ends the attempt; an admission webhook may be away for a moment."""
START_GRACE: Final = 60
"""Seconds beyond its timeout before a check that has not started is given up."""
NODE_GRACE: Final = 30
"""Seconds for a node that is not ready to come back."""
OVERDUE_GRACE: Final = 45
"""Seconds after the kubelet's own deadline before it counts as gone."""
UPLOAD_GRACE: Final = 45
"""Seconds after a container's end before its sidecar's upload is given up."""
DELETED_GRACE: Final = 15
"""Seconds after a deleted pod's grace period before its kubelet counts as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """The attempt goes on; `trouble` is what people should see."""

    trouble: str = ""
    needs_job: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The attempt is over."""

    ending: ContainerEnding


def follow(
    entry: CatalogEntry,
    attempt: AttemptView,
    job: ChildView | None,
    pod: PodView | None,
    *,
    world: ActiveWorld,
    now: datetime,
) -> Going | Ended:
    """Return how an attempt that is not ended in the ledger stands."""
    if pod is None:
        return _without_pod(entry, attempt, job, world, now)
    if pod.ending is not None:
        finished = pod.ending.finished_at
        waited_enough = bool(finished) and seconds_since(finished, now) > UPLOAD_GRACE
        if pod.over or waited_enough:
            return Ended(ending=pod.ending)
        return Going(trouble=ended_badly(pod.ending))
    if pod.deleting_since:
        if seconds_since(pod.deleting_since, now) > DELETED_GRACE:
            return Ended(ending=_words("NodeLost", f"pod {pod.name} was deleted and its kubelet does not answer"))
        return Going(trouble="its pod is being deleted")
    return _node_lost(pod, world, now) or (
        _running(entry, pod, now) if pod.started_at else _starting(entry, pod, world, now)
    )


def _words(reason: str, message: str) -> ContainerEnding:
    return ContainerEnding(reason=reason, message=message[:4096])


def ended_badly(ending: ContainerEnding) -> str:
    """Return what people see of a bad ending until the store has judged it; empty if there is nothing to tell."""
    if ending.exit_code == 0 and ending.reason in ("", "Completed"):
        return ""
    if ending.exit_code == _SKIP_EXIT and ending.reason in ("", "Error"):
        return ""  # how a check skips; whether it gave a reason for that is for the store to say
    code = "" if ending.exit_code is None else f"ended with exit code {ending.exit_code}"
    word = ending.reason if ending.reason not in ("", "Error", "Completed") else ""
    seen = ", ".join(part for part in (word, code) if part)
    return seen if code else ": ".join(part for part in (seen, ending.message) if part)


def _without_pod(
    entry: CatalogEntry, attempt: AttemptView, job: ChildView | None, world: ActiveWorld, now: datetime
) -> Going | Ended:
    if attempt.state is AttemptState.RUNNING:
        kind = "PodDeleted" if job is not None else "JobDeleted"
        return Ended(ending=_words(kind, "its pod is gone: somebody deleted it"))
    trouble = world.troubles.get(attempt.job_name, "")
    if job is None:
        if trouble and seconds_since(attempt.created_at, now) > REFUSED_GRACE:
            return Ended(ending=_words("FailedCreate", trouble))
        return Going(needs_job=True, trouble=f"FailedCreate: {trouble}" if trouble else "")
    age = seconds_since(job.created_at, now)
    if trouble and age > CREATE_GRACE:
        return Ended(ending=_words("FailedCreate", trouble))
    if age > parse_duration(entry.timeout) + START_GRACE:
        return Ended(ending=_words("NeverStarted", trouble or "no pod was created for its Job"))
    return Going(trouble=f"FailedCreate: {trouble}" if trouble else "")


def _node_lost(pod: PodView, world: ActiveWorld, now: datetime) -> Ended | None:
    if not pod.node or not world.nodes:
        return None
    health = world.nodes.get(pod.node)
    if health is None:
        return Ended(ending=_words("NodeLost", f"node {pod.node} is gone"))
    if not health.ready and seconds_since(health.since, now) > NODE_GRACE:
        return Ended(ending=_words("NodeLost", f"node {pod.node} is not ready: {health.message}"))
    return None


def _running(entry: CatalogEntry, pod: PodView, now: datetime) -> Going | Ended:
    allowed = parse_duration(entry.timeout) + GRACE_SECONDS + OVERDUE_GRACE
    if seconds_since(pod.started_at, now) > allowed:
        text = f"the kubelet of {pod.node} has not ended it in time"
        ending = _words("DeadlineExceeded", text).model_copy(update={"started_at": pod.started_at})
        return Ended(ending=ending)
    return Going()


def _starting(entry: CatalogEntry, pod: PodView, world: ActiveWorld, now: datetime) -> Going | Ended:
    reason, message = pod.blocked
    if not reason:
        reason, message = "", world.troubles.get(pod.name, "")
    waited = seconds_since(pod.scheduled_at, now) if pod.scheduled_at else 0
    definite = reason in DEFINITE_REASONS or (reason in PULL_REASONS and bool(_NO_SUCH_IMAGE.search(message)))
    too_long = seconds_since(pod.created_at, now) > parse_duration(entry.timeout) + START_GRACE
    pulled_enough = reason in PULL_REASONS and waited > PULL_GRACE
    if (definite and waited > DEFINITE_GRACE) or pulled_enough or too_long:
        return Ended(ending=_words(reason or "NeverStarted", message or "its container has not started"))
    return Going(trouble=": ".join(part for part in (reason, message) if part))
