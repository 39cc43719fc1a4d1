# SPDX-License-Identifier: Apache-2.0
"""Resolves a dimension: on each node by its strongest signals, in the cluster by the agreement of all target nodes.

On a node the highest tier decides, and only if its signals agree. A label alone, an unsourced row alone and a
supporting signal alone give a claim. What says otherwise is kept as a conflict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from evidencerun import limits
from evidencerun.fingerprint.model import (
    NONE,
    Facet,
    Observation,
    Rank,
    Scope,
    SignalCount,
    Status,
    ValueCount,
)
from evidencerun.fingerprint.node_view import Aspect, NodeView
from evidencerun.snapshot.report import Tier, UnknownReason

_UNHEARD = frozenset(
    {UnknownReason.NOT_REPORTED, UnknownReason.NOT_SCHEDULED, UnknownReason.NODE_NOT_READY, UnknownReason.TIMEOUT}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeValue:
    """What one node is in one dimension."""

    status: Status
    value: str = ""
    reason: UnknownReason = UnknownReason.NOT_COLLECTED
    tier: Tier | None = None
    source: str = ""


def resolve_node(observations: Sequence[Observation], *, corroborate: bool = False) -> NodeValue:
    """Return what the observations of one node amount to.

    With `corroborate`, two independent families of weak signals resolve a value if one of them is not a label.
    """
    valued = [each for each in observations if each.value and each.error is None]
    if not valued:
        return NodeValue(status=Status.UNKNOWN, reason=_first_error(observations))
    best = min(each.rank for each in valued)
    candidates = [each for each in valued if each.rank == best]
    strong = [each for each in candidates if each.sourced and each.tier != Tier.LABEL and each.rank != Rank.SUPPORTS]
    if strong:
        return _decided(strong, candidates, observations)
    return _claimed(candidates, valued, corroborate)


def _decided(
    strong: list[Observation], candidates: list[Observation], observations: Sequence[Observation]
) -> NodeValue:
    top = min(each.tier for each in strong)
    deciding = [each for each in strong if each.tier == top]
    first = deciding[0]
    contradicted = any(each.value != first.value for each in deciding) or any(
        # An unsourced row is no proof, and still a reason not to be sure of a weaker signal.
        each.value != first.value and not each.sourced and each.tier <= top
        for each in candidates
    )
    mixed = any(each.error is UnknownReason.UNKNOWN_SKU and each.id == first.id for each in observations)
    if contradicted or mixed:
        return NodeValue(status=Status.UNKNOWN, reason=UnknownReason.CONFLICT)
    return NodeValue(status=Status.RESOLVED, value=first.value, tier=top, source=first.id)


def _claimed(candidates: list[Observation], valued: list[Observation], corroborate: bool) -> NodeValue:
    top = min(each.tier for each in candidates)
    deciding = [each for each in candidates if each.tier == top]
    first = deciding[0]
    if any(each.value != first.value for each in deciding):
        return NodeValue(status=Status.UNKNOWN, reason=UnknownReason.CONFLICT)
    witnesses = [each for each in valued if each.value == first.value and each.sourced]
    families = {each.family for each in witnesses}
    independent = len(families) > 1 and any(each.tier != Tier.LABEL for each in witnesses)
    if corroborate and independent and first.rank is Rank.DECIDES:
        tier = min(each.tier for each in witnesses)
        return NodeValue(status=Status.RESOLVED, value=first.value, tier=tier, source=first.id)
    return NodeValue(status=Status.CLAIMED, value=first.value, tier=top, source=first.id)


def _first_error(observations: Sequence[Observation]) -> UnknownReason:
    """Return the error of the strongest signal."""
    errors = sorted((each.tier, each.error) for each in observations if each.error is not None)
    return errors[0][1] if errors else UnknownReason.NOT_COLLECTED


def resolve_facet(views: Sequence[NodeView], aspect: Aspect, scope: Scope) -> Facet:
    """Return the dimension of the whole cluster; `views` are all target nodes."""
    memory: dict[tuple[Observation, ...], NodeValue] = {}
    tally = _Tally()
    for view in views:
        observations = view.observations.get(aspect, ())
        found = memory.get(observations)
        if found is None:
            found = memory[observations] = resolve_node(observations, corroborate=aspect is Aspect.SERVICE)
        tally.add(view, found, observations)
    return tally.facet(scope)


class _Tally:
    """Counts what the nodes are, and every signal."""

    def __init__(self) -> None:
        self._nodes: Counter[str] = Counter()
        self._machines: dict[str, dict[str, int]] = {}
        self._devices: dict[str, dict[str, int]] = {}
        self._unknown: Counter[str] = Counter()
        self._signals: Counter[SignalCount] = Counter()
        self._conflicts: Counter[SignalCount] = Counter()
        self._found: dict[NodeValue, int] = {}

    def add(self, view: NodeView, found: NodeValue, observations: Sequence[Observation]) -> None:
        self._found[found] = self._found.get(found, 0) + view.weight
        for shown in {_shown(each) for each in observations}:
            self._signals[shown] += view.weight
        for shown in {_shown(each) for each in observations if _contradicts(each, found)}:
            self._conflicts[shown] += view.weight
        if found.status is Status.UNKNOWN:
            self._unknown[found.reason.value] += view.weight
            return
        self._nodes[found.value] += view.weight
        machines = self._machines.setdefault(found.value, {})
        machines[view.machine] = view.weight
        devices = self._devices.setdefault(found.value, {})
        devices[view.machine] = max(devices.get(view.machine, 0), view.devices.get(found.value, 0))

    def facet(self, scope: Scope) -> Facet:
        status, value, reason = self._outcome(scope)
        # The weakest node says how sure the whole is, whatever the order of the nodes.
        deciding = [(found.tier or Tier.LABEL, found.source) for found in self._found if value and found.value == value]
        tier, source = max(deciding, default=(None, ""))
        return Facet(
            status=status,
            value=value,
            reason="" if status is Status.RESOLVED else reason,
            source=source,
            tier=tier,
            values=dict(sorted(self._counts(), key=lambda pair: (-pair[1].nodes, pair[0]))),
            unknown=dict(sorted(self._unknown.items())),
            signals=_counted(self._signals),
            conflicts=_counted(self._conflicts),
        )

    def _counts(self) -> Iterable[tuple[str, ValueCount]]:
        for value, nodes in self._nodes.items():
            yield (
                value,
                ValueCount(
                    nodes=nodes,
                    machines=sum(self._machines[value].values()),
                    devices=sum(self._devices[value].values()),
                ),
            )

    def _outcome(self, scope: Scope) -> tuple[Status, str, str]:
        if len(self._nodes) > 1 or UnknownReason.CONFLICT in self._unknown:
            return Status.UNKNOWN, "", UnknownReason.CONFLICT.value
        if not self._nodes:
            return Status.UNKNOWN, "", self._commonest_reason()
        (value, nodes), *_ = self._nodes.items()
        if self._unknown and not self._tolerated(value, nodes, scope):
            return Status.UNKNOWN, "", self._commonest_reason()
        if any(found.status is Status.CLAIMED for found in self._found):
            return Status.CLAIMED, value, Status.CLAIMED.value
        return Status.RESOLVED, value, ""

    def _commonest_reason(self) -> str:
        ranked = sorted(self._unknown.items(), key=lambda pair: (-pair[1], pair[0]))
        return ranked[0][0] if ranked else UnknownReason.NOT_COLLECTED.value

    def _tolerated(self, value: str, nodes: int, scope: Scope) -> bool:
        """Return whether the run allows that this many nodes have not reported; `none` allows no gap."""
        if value == NONE or any(reason not in _UNHEARD for reason in self._unknown):
            return False
        return nodes * 100 >= scope.targeted * scope.minimum_percent


def _contradicts(each: Observation, found: NodeValue) -> bool:
    return bool(each.value) and each.rank is Rank.DECIDES and each.value != found.value


@lru_cache(maxsize=65536)
def _shown(each: Observation) -> SignalCount:
    """Return what is written of an observation; its number of nodes is counted later."""
    return SignalCount(
        id=each.id,
        tier=each.tier,
        level=each.level,
        raw=each.raw,
        value=each.value,
        sourced=each.sourced,
        error=each.error,
        nodes=0,
    )


def _counted(signals: Mapping[SignalCount, int]) -> tuple[SignalCount, ...]:
    """Return equal signals as one, the strongest and most frequent first, at most as many as the limit."""
    counts = [replace(signal, nodes=nodes) for signal, nodes in signals.items()]
    counts.sort(key=_signal_order)
    return tuple(counts[: limits.SIGNALS_MAX])


def _signal_order(count: SignalCount) -> tuple[str, int, str, str, str, str, bool, str]:
    error = count.error or ""
    return (count.tier, -count.nodes, count.id, count.value, count.raw, error, count.sourced, count.level)
