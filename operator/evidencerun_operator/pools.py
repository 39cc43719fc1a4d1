# SPDX-License-Identifier: Apache-2.0
"""Which nodes a run looks at: policy order decides, each node belongs to one pool, fallbacks come last; pure."""

from __future__ import annotations

from collections.abc import Sequence

from evidencerun.snapshot.report import NodeFacts
from evidencerun.validation.spec import Pool
from evidencerun_operator.views import NodeView


def matches(pool: Pool, node: NodeView) -> bool:
    """Return whether the pool's selector matches the node's labels; an empty selector matches every node."""
    return all(node.labels.get(key) == value for key, value in pool.node_selector.items())


def chosen_pools(pools: Sequence[Pool], named: Sequence[str], nodes: Sequence[NodeView]) -> list[Pool]:
    """Return the pools that count: those that the run names, else all; a fallback only if no other has a node."""
    candidates = [pool for pool in pools if not named or pool.name in named]
    first = [pool for pool in candidates if not pool.fallback]
    if any(matches(pool, node) for pool in first for node in nodes):
        return first
    return [pool for pool in candidates if pool.fallback] or first


def target_nodes(pools: Sequence[Pool], named: Sequence[str], nodes: Sequence[NodeView]) -> list[NodeFacts]:
    """Return the facts of the target nodes with their pool, sorted by uid. Nodes that are not ready are targets too."""
    chosen = chosen_pools(pools, named, nodes)
    found = []
    for node in nodes:
        pool = next((pool for pool in chosen if matches(pool, node)), None)
        if pool is not None:
            found.append(node.facts.model_copy(update={"pool": pool.name}))
    return sorted(found, key=lambda facts: facts.uid)
