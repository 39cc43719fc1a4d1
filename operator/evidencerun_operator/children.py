# SPDX-License-Identifier: Apache-2.0
"""Reads the objects of one run, their pods and what the API warns about them, as far as a stage needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

from evidencerun.kube.base import CONFIG_MAPS, CORE_EVENTS, DAEMON_SETS, JOBS, PODS, ClusterPort, Resource
from evidencerun_operator import naming
from evidencerun_operator.recent_answers import RecentAnswers
from evidencerun_operator.stages import Stage
from evidencerun_operator.views import ChildView, PodView, child_view, latest_warnings, pod_view, warning_view
from evidencerun_operator.world import Places

_EVENTS_SECONDS: Final = 1.0
_NODES_PER_POD_LIST: Final = 100
"""The list of a run's probe pods is read again after one second per so many nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a stage looks at: which of our two namespaces, the run's own, warnings, and nodes."""

    probes: bool = False
    checks: bool = False
    deliver: bool = False
    warnings: bool = False
    nodes: bool = False


NEEDS: Final = {
    Stage.PROBING: Needs(probes=True, warnings=True, nodes=True),
    Stage.CHECKING: Needs(checks=True, warnings=True, nodes=True),
    Stage.STOPPING: Needs(checks=True, probes=True, warnings=True, nodes=True),
    Stage.DELIVERING: Needs(deliver=True, warnings=True),
    Stage.CLEANING: Needs(probes=True, checks=True, deliver=True),
}


class Children:
    """Reads what belongs to a run. All calls may raise `ClusterError`."""

    def __init__(self, cluster: ClusterPort, places: Places, recent: RecentAnswers) -> None:
        self._cluster = cluster
        self._places = places
        self._recent = recent

    async def objects(
        self, uid: str, namespace: str, needs: Needs, nodes: int
    ) -> tuple[tuple[ChildView, ...], tuple[PodView, ...]]:
        """Return the children and pods of a run that a stage looks at; `nodes` says how many it targets."""
        chosen = naming.selector(uid)
        places = self._places
        wanted: list[tuple[Resource, str]] = []
        pod_places: list[str] = []
        if needs.probes:
            wanted += [(CONFIG_MAPS, places.probes), (DAEMON_SETS, places.probes)]
        if needs.checks:
            wanted += [(CONFIG_MAPS, places.checks), (JOBS, places.checks)]
            pod_places.append(places.checks)
        if needs.deliver:
            wanted += [(JOBS, namespace)]
            pod_places.append(namespace)
        # A pod that is not seen although its Job is would look deleted: the pods are read after the objects.
        children = await asyncio.gather(*(self._children(resource, where, chosen) for resource, where in wanted))
        reads: list[Awaitable[list[PodView]]] = [self._pods(place, chosen) for place in pod_places]
        if needs.probes:
            seconds = 0.0 if needs.checks else nodes / _NODES_PER_POD_LIST
            reads.append(self._recent.get(("pods", uid), seconds, partial(self._pods, places.probes, chosen)))
        pods = await asyncio.gather(*reads)
        return tuple(chain.from_iterable(children)), tuple(chain.from_iterable(pods))

    async def _children(self, resource: Resource, namespace: str, selector: str) -> list[ChildView]:
        project = partial(child_view, resource.kind)
        return await self._cluster.list_all(resource, namespace=namespace, label_selector=selector, project=project)

    async def _pods(self, namespace: str, selector: str) -> list[PodView]:
        return await self._cluster.list_all(PODS, namespace=namespace, label_selector=selector, project=pod_view)

    async def warnings(self, uid: str, namespace: str, needs: Needs, pods: Sequence[PodView]) -> dict[str, str]:
        """Return name to message of what the API warns about, if anything of the run has not started."""
        if not needs.warnings or (pods and all(pod.started_at for pod in pods)):
            return {}
        place = self._places.probes if needs.probes else self._places.checks if needs.checks else namespace
        read = partial(self._read_warnings, place)
        found = await self._recent.get(("warnings", place), _EVENTS_SECONDS, read)
        return {name: message for name, message in found.items() if name.startswith(naming.prefix(uid))}

    async def _read_warnings(self, namespace: str) -> dict[str, str]:
        rows = await self._cluster.list_all(
            CORE_EVENTS, namespace=namespace, field_selector="type=Warning", project=warning_view
        )
        return latest_warnings(rows)
