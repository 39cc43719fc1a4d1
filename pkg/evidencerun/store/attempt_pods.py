# SPDX-License-Identifier: Apache-2.0
"""Which pods are an attempt's: the API is asked, and nobody's word for it is taken."""

from __future__ import annotations

from typing import Any

from evidencerun import limits
from evidencerun.errors import ClusterError
from evidencerun.kube.base import PODS, ClusterPort, Object
from evidencerun.store.ledger import LedgerEntry
from evidencerun.store.refusals import conflict
from evidencerun.store.runs import Run
from evidencerun.validation.storeapi import PodRef


class AttemptPods:
    """Asks the API about pods in the namespace of the checks. All calls may raise `ClusterError`."""

    def __init__(self, cluster: ClusterPort, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._owners: dict[str, str] = {}

    async def look_up(self, run: Run, entry: LedgerEntry, pod: PodRef, *, gone_is_fine: bool) -> PodRef | None:
        """Return the pod with its node; raises `RefusalError` 409 if it is another Job's, or gone (unless fine)."""
        found = await self._find(pod.name)
        if found is None:
            if gone_is_fine:
                return None
            raise conflict(f"there is no pod {pod.name}", why="it is gone, or the name is wrong")
        trouble = ownership_fault(found, run_uid=run.card.uid, job=entry.job_name, pod_uid=pod.uid)
        if trouble:
            raise conflict(f"pod {pod.name} does not belong to Job {entry.job_name}", why=trouble)
        return PodRef(name=pod.name, uid=pod.uid, node_name=str((found.get("spec") or {}).get("nodeName") or ""))

    async def owned_by(self, run: Run, entry: LedgerEntry, *, pod_name: str, pod_uid: str) -> bool:
        """Return whether a pod is the attempt's; asked of the API once per pod."""
        if any(known.uid == pod_uid for known in entry.pods) or self._owners.get(pod_uid) == entry.job_name:
            return True
        found = await self._find(pod_name)
        if found is None or ownership_fault(found, run_uid=run.card.uid, job=entry.job_name, pod_uid=pod_uid):
            return False
        if len(self._owners) > limits.IDENTITY_CACHE_MAX:
            self._owners.clear()
        self._owners[pod_uid] = entry.job_name
        return True

    async def _find(self, name: str) -> Object | None:
        try:
            return await self._cluster.get(PODS, name, namespace=self._namespace)
        except ClusterError as fault:
            if fault.status != 404:
                raise
            return None


def ownership_fault(pod: dict[str, Any], *, run_uid: str, job: str, pod_uid: str) -> str:
    """Return why a pod is not the Job's of this run; empty if it is."""
    meta = pod.get("metadata") or {}
    if meta.get("uid") != pod_uid:
        return f"its uid is {meta.get('uid')}"
    if (meta.get("labels") or {}).get("evidencerun.dev/run-uid") != run_uid:
        return "it lacks the run's label"
    owners = [o for o in meta.get("ownerReferences") or () if o.get("controller") and o.get("kind") == "Job"]
    if [owner.get("name") for owner in owners] != [job]:
        return f"it is controlled by {[owner.get('name') for owner in owners]}"
    return ""
