# SPDX-License-Identifier: Apache-2.0
"""Does what a decision asks for. Create-or-verify: an object of the right name is ours only if run and hash agree."""

from __future__ import annotations

from typing import Any

from evidencerun.errors import ClusterError
from evidencerun.kube.base import PODS, ClusterPort, Resource
from evidencerun_operator import naming
from evidencerun_operator.actions import (
    Action,
    Close,
    Delete,
    DeletePods,
    Ensure,
    Evaluate,
    PutPlan,
    RecordAttempt,
    Seal,
)
from evidencerun_operator.refusals import Refusals
from evidencerun_operator.storeclient import StoreClient


class Executor:
    """Executes actions; raises `ClusterError` or `StoreError`. Each action may be repeated.

    `refusals` receives, by an object's name, the API server's words on why it was not created.
    """

    def __init__(self, cluster: ClusterPort, store: StoreClient, refusals: Refusals) -> None:
        self._cluster = cluster
        self._store = store
        self._refusals = refusals

    async def execute(self, uid: str, action: Action) -> None:
        """Do one action for the run of that uid."""
        match action:
            case PutPlan(plan=plan):
                await self._store.put_plan(plan)
            case RecordAttempt(request=request):
                await self._store.record(uid, request)
            case Evaluate(stragglers=stragglers):
                await self._store.evaluate(uid, stragglers)
            case Seal(request=order):
                await self._store.seal(uid, order)
            case Close():
                await self._store.close_run(uid)
            case Ensure(resource=resource, manifest=manifest):
                await self._noting(resource, manifest)
            case Delete():
                await self._delete(action)
            case DeletePods(namespace=namespace, selector=selector, force=force):
                await self._cluster.delete_collection(PODS, namespace=namespace, label_selector=selector, force=force)

    async def _noting(self, resource: Resource, manifest: dict[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        try:
            await self._ensure(resource, manifest)
        except ClusterError as error:
            self._refusals.note(name, error)
            raise
        self._refusals.clear(name)

    async def _ensure(self, resource: Resource, manifest: dict[str, Any]) -> None:
        meta = manifest["metadata"]
        try:
            await self._cluster.create(resource, manifest, namespace=meta["namespace"])
        except ClusterError as error:
            if error.status != 409 or error.reason != "AlreadyExists":
                raise
        else:
            return
        found = await self._cluster.get(resource, meta["name"], namespace=meta["namespace"])
        fault = foreign(found, manifest)
        if fault:
            raise ClusterError(
                "E3601",
                f"{resource.kind} {meta['name']} exists already and is not this run's",
                where=f"namespace {meta['namespace']}",
                why=fault,
                fix=f"kubectl delete -n {meta['namespace']} {resource.plural} {meta['name']}",
            )

    async def _delete(self, action: Delete) -> None:
        try:
            await self._cluster.delete(action.resource, action.name, namespace=action.namespace, uid=action.uid)
        except ClusterError as error:
            # Another object has taken the name: ours is gone, and that one is not ours to delete.
            if error.status != 409:
                raise


def foreign(found: dict[str, Any], manifest: dict[str, Any]) -> str:
    """Return why an existing object is not the one of `manifest`; empty if it is."""
    ours, theirs = manifest["metadata"], found.get("metadata") or {}
    uid, other = ours["labels"][naming.RUN_UID], (theirs.get("labels") or {}).get(naming.RUN_UID)
    if other != uid:
        return f"label {naming.RUN_UID} is {other}, expected {uid}"
    digest = (theirs.get("annotations") or {}).get(naming.SPEC_HASH)
    expected = ours["annotations"][naming.SPEC_HASH]
    if digest != expected:
        return f"annotation {naming.SPEC_HASH} is {digest}, expected {expected}"
    return ""
