# SPDX-License-Identifier: Apache-2.0
"""How the container of a check ended, out of a Pod object: the kubelet's words, without judgement.

They are a node's words, and nobody else bounds their length: whatever they are, there is an ending.

A container that the kubelet killed on the pod's account (deadline, eviction, deletion, a lost node) ends with a bare
`Error`, or `Completed` if it obeys the signal; what befell the pod says more and is taken then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from evidencerun import limits
from evidencerun.validation.storeapi import ContainerEnding

VALIDATOR: Final = "validator"
SIDECAR: Final = "sidecar"
POD_DELETED: Final = "PodDeleted"
BARE_REASONS: Final = frozenset({"", "Completed", "Error", "ContainerStatusUnknown", "Unknown"})
"""Words that give way to the pod's own: a check that exits 0 while its pod is being killed has not passed."""


def container_ending(pod: Mapping[str, Any], container: str = VALIDATOR) -> ContainerEnding | None:
    """Return the ending of `container`, or None while it may still start or is running in a pod that lives."""
    status = pod.get("status") or {}
    entry = _entry(status.get("containerStatuses"), container)
    terminated = _state(entry, "terminated")
    pod_message = str(status.get("message") or "")
    if terminated is not None:
        reason = str(terminated.get("reason") or "")
        pod_reason = _what_befell(pod, str(terminated.get("finishedAt") or ""))
        return ContainerEnding(
            exit_code=terminated.get("exitCode"),
            signal=terminated.get("signal") or None,
            reason=_cut(pod_reason if reason in BARE_REASONS and pod_reason else reason),
            message=_cut(str(terminated.get("message") or "")),
            started_at=str(terminated.get("startedAt") or ""),
            finished_at=str(terminated.get("finishedAt") or ""),
            image=_whole(entry.get("image")),
            image_id=_whole(entry.get("imageID")),
        )
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    reason, message = never_started(pod, container)
    return ContainerEnding(
        reason=_cut(_what_befell(pod, "") or reason or "NeverStarted"),
        message=_cut(pod_message or message),
        image=_whole(entry.get("image")),
        image_id=_whole(entry.get("imageID")),
    )


def _what_befell(pod: Mapping[str, Any], finished_at: str) -> str:
    """Return what ended the pod before its time; empty if nothing did.

    A pod that was deleted after its container had ended by itself was only cleaned up. Times have whole seconds; in the
    same second the deletion counts, because a check that is being killed has not passed.
    """
    status, meta = pod.get("status") or {}, pod.get("metadata") or {}
    if status.get("reason"):
        return str(status["reason"])
    if not meta.get("deletionTimestamp"):
        return ""
    try:
        end_of_grace = datetime.fromisoformat(str(meta["deletionTimestamp"]))
        asked = end_of_grace - timedelta(seconds=float(meta.get("deletionGracePeriodSeconds") or 0))
        if datetime.fromisoformat(finished_at) < asked:
            return ""
    except (ValueError, TypeError, OverflowError):
        return POD_DELETED
    for condition in _entries(status.get("conditions")):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return str(condition.get("reason") or POD_DELETED)
    return POD_DELETED


def never_started(pod: Mapping[str, Any], container: str = VALIDATOR) -> tuple[str, str]:
    """Return reason and message of what keeps a pod's container from starting; empty texts if nothing is known."""
    status = pod.get("status") or {}
    for entry in _entries(status.get("initContainerStatuses")):
        for state in ("waiting", "terminated"):
            found = _state(entry, state)
            if found is not None and (found.get("reason") or "") not in ("PodInitializing", "Completed", ""):
                name = str(entry.get("name") or "")
                return _cut(str(found["reason"])), f"{name}: {found.get('message') or found['reason']}"
    waiting = _state(_entry(status.get("containerStatuses"), container), "waiting") or {}
    if waiting.get("reason") not in (None, "", "PodInitializing", "ContainerCreating"):
        return _cut(str(waiting["reason"])), str(waiting.get("message") or "")
    for condition in _entries(status.get("conditions")):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _cut(str(condition.get("reason") or "Unschedulable")), str(condition.get("message") or "")
    return "", ""


def sidecar_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether the upload of results is over: the sidecar has ended, or can no longer start."""
    status = pod.get("status") or {}
    entry = _entry(status.get("initContainerStatuses"), SIDECAR)
    if _state(entry, "terminated") is not None:
        return True
    over = status.get("phase") in ("Failed", "Succeeded")
    return over and _state(entry, "running") is None


def started(pod: Mapping[str, Any], container: str = VALIDATOR) -> bool:
    """Return whether the container runs or has run, so that it may have a log."""
    entry = _entry((pod.get("status") or {}).get("containerStatuses"), container)
    return _state(entry, "running") is not None or _state(entry, "terminated") is not None


def container_start(pod: Mapping[str, Any], container: str = VALIDATOR) -> ContainerEnding | None:
    """Return start and image of a container that runs or has run, as an ending without an end; None if it has not."""
    entry = _entry((pod.get("status") or {}).get("containerStatuses"), container)
    state = _state(entry, "running") or _state(entry, "terminated") or {}
    seen = ContainerEnding(
        started_at=str(state.get("startedAt") or ""),
        image=_whole(entry.get("image")),
        image_id=_whole(entry.get("imageID")),
    )
    return seen if seen.started_at else None


def _entries(values: object) -> Sequence[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _entry(values: object, name: str) -> Mapping[str, Any]:
    return next((value for value in _entries(values) if value.get("name") == name), {})


def _state(entry: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return the state `name` if it is the current one; the kubelet may send an empty object for it."""
    state = entry.get("state") or {}
    found = state.get(name)
    return found if isinstance(found, dict) else None


def _cut(text: str) -> str:
    return text[: limits.TERMINATION_MESSAGE_MAX]


def _whole(value: object) -> str:
    """Return a text that means nothing once it is cut; a longer one than any honest one counts as not given."""
    text = str(value or "")
    return text if len(text) <= limits.TERMINATION_MESSAGE_MAX else ""
