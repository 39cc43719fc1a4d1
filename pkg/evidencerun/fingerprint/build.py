# SPDX-License-Identifier: Apache-2.0
"""Builds the fingerprint: from nodes.json where there is one, else from what a snapshot alone can say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evidencerun.fingerprint.model import NONE, Facet, Fingerprint, Scope, SignalCount, Status, Trust, ValueCount
from evidencerun.fingerprint.node_signals import node_view
from evidencerun.fingerprint.node_view import Aspect, NodeView
from evidencerun.fingerprint.resolve import resolve_facet
from evidencerun.fingerprint.snapshot_signals import snapshot_gpu_nodes, snapshot_views
from evidencerun.snapshot.coverage import coverage_of
from evidencerun.snapshot.document import Snapshot
from evidencerun.snapshot.nodes import NodesDocument
from evidencerun.snapshot.report import Level, Tier, UnknownReason


def fingerprint(snapshot: Snapshot, nodes: NodesDocument | None = None) -> Fingerprint:
    """Return the fingerprint of the cluster that snapshot and nodes describe.

    Computed from measurements only; the block stored in the snapshot is never read. Without nodes.json the snapshot's
    own numbers say how many nodes a value speaks for; a snapshot of one node of several leaves the others unknown.
    """
    return fingerprint_of(snapshot, None if nodes is None else [node_view(entry) for entry in nodes.nodes])


def fingerprint_of(snapshot: Snapshot, nodes: Sequence[NodeView] | None) -> Fingerprint:
    """Return the same of the views of all target nodes, which take far less memory than their reports."""
    stated = coverage_of(snapshot)
    views = nodes if nodes is not None else snapshot_views(snapshot)
    node_count = snapshot.scalar("NodeTopology", "summary", "node-count")
    in_cluster = node_count if isinstance(node_count, int) and stated is None else 0
    scope = Scope(
        targeted=sum(view.weight for view in views),
        reported=sum(view.weight for view in views if view.reported),
        machines=stated.machines if stated is not None and nodes is None else _machines(views),
        minimum_percent=stated.minimum_percent if stated is not None else 100,
        in_cluster=in_cluster,
    )
    facets = {aspect: resolve_facet(views, aspect, scope) for aspect in Aspect}
    accelerator = facets[Aspect.ACCELERATOR]
    if accelerator.value == NONE and accelerator.status is Status.RESOLVED:
        facets[Aspect.GPU_MODEL] = facets[Aspect.DRIVER] = Facet(reason=UnknownReason.NOT_APPLICABLE.value)
    return Fingerprint(
        service=facets[Aspect.SERVICE],
        accelerator=accelerator,
        gpu_model=facets[Aspect.GPU_MODEL],
        os=facets[Aspect.OS],
        os_version=facets[Aspect.OS_VERSION],
        k8s_version=_k8s_version(snapshot, scope),
        region=facets[Aspect.REGION],
        kernel=facets[Aspect.KERNEL],
        driver=facets[Aspect.DRIVER],
        machine=facets[Aspect.MACHINE],
        fabric=facets[Aspect.FABRIC],
        scope=scope,
        trust=_trust(views, facets[Aspect.ACCELERATOR], facets[Aspect.OS], facets[Aspect.SERVICE]),
        node_count=scope.targeted if nodes is not None or stated is not None else in_cluster,
        gpu_node_count=_gpu_nodes(accelerator) if nodes is not None else snapshot_gpu_nodes(snapshot, accelerator),
        shared_kernel=scope.machines < scope.targeted,
        zones=_zones(views),
    )


def _machines(views: Sequence[NodeView]) -> int:
    weights = {view.machine: view.weight for view in views}
    return sum(weights.values())


def _gpu_nodes(accelerator: Facet) -> int:
    return sum(count.nodes for value, count in accelerator.values.items() if value != NONE)


def _zones(views: Sequence[NodeView]) -> dict[str, int]:
    zones: Counter[str] = Counter()
    for view in views:
        if view.zone:
            zones[view.zone] += view.weight
    return dict(sorted(zones.items()))


def _k8s_version(snapshot: Snapshot, scope: Scope) -> Facet:
    """Return the API server's version; it is one for the whole cluster."""
    raw = snapshot.scalar("K8s", "server", "version")
    if not isinstance(raw, str) or not raw:
        return Facet()
    value = raw.removeprefix("v")
    signal = SignalCount(
        id="k8s.server.version",
        tier=Tier.CLOUD,
        level=Level.API,
        raw=raw,
        value=value,
        sourced=True,
        error=None,
        nodes=scope.targeted,
    )
    return Facet(
        status=Status.RESOLVED,
        value=value,
        reason="",
        source=signal.id,
        tier=Tier.CLOUD,
        values={value: ValueCount(nodes=scope.targeted, machines=scope.machines)} if scope.targeted else {},
        signals=(signal,),
    )


def _trust(views: Sequence[NodeView], *facets: Facet) -> Trust:
    tiers = [facet.tier for facet in facets if facet.resolved and facet.tier is not None]
    markers = sorted({marker for view in views for marker in view.markers})
    return Trust(tier=max(tiers) if tiers else None, markers=tuple(markers))
