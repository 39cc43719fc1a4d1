# SPDX-License-Identifier: Apache-2.0
"""Looks at the world for one decision: only what the stage needs, projected at once, nothing kept but caches."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from evidencerun.errors import ClusterError, StoreError
from evidencerun.kube.base import (
    CONFIG_MAPS,
    EVIDENCE_POLICIES,
    NODES,
    RUNTIME_CLASSES,
    ClusterPort,
)
from evidencerun.validation.plan import ClusterIdentity, Plan, PlanImages, ServerVersion
from evidencerun.validation.spec import ConfigMapKey, RunSpec
from evidencerun.validation.storeapi import RunView
from evidencerun_operator.children import NEEDS, Children, Needs
from evidencerun_operator.planning import plan_status
from evidencerun_operator.recent_answers import RecentAnswers
from evidencerun_operator.refusals import Refusals
from evidencerun_operator.run_list import RunList
from evidencerun_operator.run_object import Faulty, Policy, Run, read_policy
from evidencerun_operator.settings import Settings
from evidencerun_operator.stages import Stage, standing
from evidencerun_operator.storeclient import StoreClient
from evidencerun_operator.turn import queue_position, waits_unread
from evidencerun_operator.views import NodeHealth, NodeView, node_health, node_view
from evidencerun_operator.world import (
    ActiveWorld,
    Missing,
    PendingWorld,
    Places,
    QueuedWorld,
    StoreDown,
    StoreLost,
    World,
)

_NODES_SECONDS: Final = 4.0
_QUEUED_SECONDS: Final = 60.0
_NODES_PER_NODE_LIST: Final = 200
_CLASSES_SECONDS: Final = 30.0
_REPLACING: Final = "--dry-run=client -o yaml | kubectl apply -f -"
"""How `kubectl create` serves for an object that is there already."""


class Observer:
    """Reads what decisions need. All calls may raise `ClusterError`; a store that fails is part of the picture."""

    def __init__(
        self,
        cluster: ClusterPort,
        store: StoreClient,
        settings: Settings,
        *,
        runs: RunList,
        refusals: Refusals,
        ca_digest: str,
        nonce: Callable[[], str],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._settings = settings
        self._runs = runs
        self._refusals = refusals
        self._ca_digest = ca_digest
        self._nonce = nonce
        self._recent = RecentAnswers()
        self._plans: dict[str, Plan] = {}
        self.places = Places(
            system=settings.system_namespace,
            probes=settings.probes_namespace,
            checks=settings.checks_namespace,
            runs=settings.run_namespaces,
            store_url=settings.store_url,
        )
        self._children = Children(cluster, self.places, self._recent)

    def forget(self, uid: str) -> None:
        """Drop what is cached of a run that is over."""
        self._plans.pop(uid, None)
        self._refusals.forget(uid)

    async def look(self, run: Run, now: datetime) -> World:
        """Return the world as the run's state needs it."""
        if run.status.plan is None:
            return await self._pending(run)
        return await self._active(run, now)

    async def _pending(self, run: Run) -> PendingWorld | QueuedWorld:
        allowed = run.ref.namespace in self.places.runs
        policy = await self._policy(run)
        store = await self._stored_plan(run) if allowed else None
        occupied, ahead = self._runs.queue_before(run)
        recipe: bytes | Missing = b""
        nodes: list[NodeView] = []
        if allowed and isinstance(policy, Policy):
            position = queue_position(policy, occupied=occupied, ahead=ahead)
            if waits_unread(run, position):
                return QueuedWorld(policy=policy, position=position, store=store)
            recipe = await self._recipe(run)
            if not isinstance(recipe, Missing):
                if position <= 0:
                    occupied, ahead = await self._runs.queue_now(run)
                # A run that waits its turn needs no fresh list: it is planned with the one of its last look.
                read = partial(self._cluster.list_all, NODES, project=node_view)
                nodes = await self._recent.get("node-views", _QUEUED_SECONDS if position > 0 else 0, read)
        version = await self._recent.get("version", _CLASSES_SECONDS, self._cluster.server_version)
        return PendingWorld(
            places=self.places,
            policy=policy,
            recipe=recipe,
            nodes=tuple(nodes),
            occupied=occupied,
            ahead=ahead,
            store=store,
            cluster=ClusterIdentity(
                ca_digest=self._ca_digest,
                server=ServerVersion(
                    git_version=str(version.get("gitVersion") or ""),
                    platform=str(version.get("platform") or ""),
                    go_version=str(version.get("goVersion") or ""),
                ),
            ),
            images=PlanImages(evidencerun=self._settings.image, probe=self._settings.probe_image),
            nonce=self._nonce(),
        )

    async def _stored_plan(self, run: Run) -> Plan | StoreDown | None:
        try:
            return await self._store.plan(run.ref.uid)
        except StoreError as error:
            return StoreDown(message=str(error))

    async def _policy(self, run: Run) -> Policy | Faulty | Missing:
        name = run.spec.policy if isinstance(run.spec, RunSpec) else "default"
        try:
            return read_policy(await self._cluster.get(EVIDENCE_POLICIES, name))
        except ClusterError as error:
            if error.status != 404:
                raise
        return Missing(what=f"EvidencePolicy {name}", fix="kubectl get evidencepolicies")

    async def _recipe(self, run: Run) -> bytes | Missing:
        if isinstance(run.spec, Faulty):
            return b""
        source = run.spec.recipe
        if source.inline is not None:
            return source.inline.encode()
        return await self._from_config_map(run, source.config_map) if source.config_map is not None else b""

    async def _from_config_map(self, run: Run, source: ConfigMapKey) -> bytes | Missing:
        namespace, name, key = run.ref.namespace, source.name, source.key
        fix = f"kubectl create -n {namespace} configmap {name} --from-file={key}=FILE"
        try:
            found = await self._cluster.get(CONFIG_MAPS, name, namespace=namespace)
        except ClusterError as error:
            if error.status != 404:
                raise
            return Missing(what=f"ConfigMap {namespace}/{name}", fix=fix)
        data, binary = found.get("data") or {}, found.get("binaryData") or {}
        if key in data:
            return str(data[key]).encode()
        if key in binary:
            return b64decode(binary[key])
        keys = ", ".join(sorted([*data, *binary])[:10]) or "none"
        return Missing(what=f"key {key} of ConfigMap {namespace}/{name} (found: {keys})", fix=f"{fix} {_REPLACING}")

    async def _active(self, run: Run, now: datetime) -> ActiveWorld:
        uid = run.ref.uid
        store: RunView | StoreDown | StoreLost
        plan = self._plans.get(uid)
        try:
            view = await self._store.view(uid)
            store = view if view is not None else StoreLost()
            if plan is None:
                plan = await self._read_plan(run)
        except StoreError as error:
            store = StoreDown(message=str(error))
        stage = standing(now, run, store, plan).stage
        needs = NEEDS.get(stage, Needs())
        children, pods = await self._children.objects(uid, run.ref.namespace, needs, _count(plan))
        troubles = await self._children.warnings(uid, run.ref.namespace, needs, pods)
        classes: frozenset[str] = frozenset()
        if stage is Stage.PROBING:
            classes = await self._recent.get("runtimeclasses", _CLASSES_SECONDS, self._runtime_classes)
        return ActiveWorld(
            places=self.places,
            plan=plan,
            store=store,
            children=children,
            pods=pods,
            troubles=troubles | self._refusals.of_run(uid),
            nodes=await self._recent.get("nodes", _pace_of_nodes(plan), self._health) if needs.nodes else {},
            store_ca=self._store.ca,
            runtime_classes=classes,
        )

    async def _read_plan(self, run: Run) -> Plan | None:
        plan = await self._store.plan(run.ref.uid)
        if plan is None or run.status.plan is None:
            return None
        digest = plan_status(plan).plan_digest
        if digest != run.status.plan.plan_digest:
            raise StoreError(
                "E3510",
                "the store's plan is not the one that was frozen",
                why=f"found {digest}, expected {run.status.plan.plan_digest}",
                retryable=False,
            )
        self._plans[run.ref.uid] = plan
        return plan

    async def children_of(self, uid: str) -> ActiveWorld:
        """Return the objects of a run in our two namespaces, for the janitor."""
        children, pods = await self._children.objects(uid, "", Needs(probes=True, checks=True), 0)
        return ActiveWorld(places=self.places, plan=None, store=StoreLost(), children=children, pods=pods)

    async def _health(self) -> dict[str, NodeHealth]:
        return dict(await self._cluster.list_all(NODES, project=node_health))

    async def _runtime_classes(self) -> frozenset[str]:
        names = await self._cluster.list_all(RUNTIME_CLASSES, project=lambda body: str(body["metadata"]["name"]))
        return frozenset(names)


def _count(plan: Plan | None) -> int:
    return len(plan.target_nodes) if plan is not None else 0


def _pace_of_nodes(plan: Plan | None) -> float:
    """Return how old a list of nodes may be: a big cluster's is 25 MiB."""
    return max(_NODES_SECONDS, _count(plan) / _NODES_PER_NODE_LIST)
