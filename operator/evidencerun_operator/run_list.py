# SPDX-License-Identifier: Apache-2.0
"""All runs that are not finished: for the queue's order, for the resync and for the janitor."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from evidencerun.errors import ClusterError
from evidencerun.kube.base import EVIDENCE_RUNS, ClusterPort
from evidencerun_operator.run_object import Run
from evidencerun_operator.status import ConditionType, RunPhase

_OPEN: Final = f"status.phase!={RunPhase.FINISHED}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """What the order of runs needs to know of one."""

    uid: str
    namespace: str
    name: str
    created_at: str
    planned: bool
    refused: bool
    """Whether it waits for something that is missing; it holds no place meanwhile."""
    complete: bool
    deleting: bool = False
    """Whether it is deleted, and only a finalizer of somebody keeps the object: no work is done for it any more."""

    @property
    def order(self) -> tuple[str, str, str]:
        """Oldest first; the API server's clock has whole seconds only, so the name decides between equals."""
        return (self.created_at, self.namespace, self.name)


def run_row(body: dict[str, Any]) -> RunRow:
    """Project an EvidenceRun object."""
    meta, status = body["metadata"], body.get("status") or {}
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or () if isinstance(c, dict)}
    return RunRow(
        uid=str(meta["uid"]),
        namespace=str(meta["namespace"]),
        name=str(meta["name"]),
        created_at=str(meta.get("creationTimestamp") or ""),
        planned=bool(status.get("plan")),
        refused=conditions.get(ConditionType.ACCEPTED) == "False",
        complete=conditions.get(ConditionType.COMPLETE) == "True",
        deleting=bool(meta.get("deletionTimestamp")),
    )


class RunList:
    """Lists runs, of the whole cluster if that is allowed, else of the run namespaces; remembers the unfinished ones.

    Hundreds of waiting runs must not list each other all the time: what is remembered, and kept up by the watch, is
    enough to go on waiting. It is not enough to begin, as the watch may be late.
    """

    def __init__(self, cluster: ClusterPort, namespaces: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._namespaces = namespaces
        self.cluster_wide = True
        self._known: dict[str, RunRow] = {}

    async def find_scope(self) -> bool:
        """Return whether runs may be read in all namespaces: then one in a wrong namespace can be told so."""
        try:
            await self._cluster.list_all(EVIDENCE_RUNS, field_selector=_OPEN, project=run_row)
        except ClusterError as error:
            if error.status != 403:
                raise
            self.cluster_wide = False
        return self.cluster_wide

    async def open_runs(self) -> list[RunRow]:
        """Return the runs that are not finished."""
        rows = [row for row in await self._rows(_OPEN) if not row.complete]
        self._known = {row.uid: row for row in rows}
        return rows

    def saw(self, row: RunRow, *, gone: bool) -> None:
        """Remember what the watch tells of a run."""
        if gone or row.complete:
            self._known.pop(row.uid, None)
        else:
            self._known[row.uid] = row

    async def all_runs(self) -> dict[str, bool]:
        """Return the uids of all runs, and whether each is complete."""
        return {row.uid: row.complete for row in await self._rows("")}

    def queue_before(self, run: Run) -> tuple[int, int]:
        """Return how many runs are at work, and how many that are not planned yet come before `run`, as remembered.

        The first waiting run of each namespace comes before the second of any, so that nobody fills the queue; of
        several the oldest comes first.
        """
        rows = [row for row in self._known.values() if row.namespace in self._namespaces and not row.deleting]
        others = [row for row in rows if row.uid != run.ref.uid]
        waiting = sorted((row for row in others if not row.planned and not row.refused), key=lambda row: row.order)
        held = Counter(row.namespace for row in others if row.planned)
        mine = (run.created_at, run.ref.namespace, run.ref.name)
        older = sum(row.namespace == run.ref.namespace and row.order < mine for row in waiting)
        turn = (held[run.ref.namespace] + older, mine)
        ahead = 0
        for row in waiting:
            ahead += (held[row.namespace], row.order) < turn
            held[row.namespace] += 1
        return sum(row.planned for row in others), ahead

    async def queue_now(self, run: Run) -> tuple[int, int]:
        """Return the same of a list made now."""
        await self.open_runs()
        return self.queue_before(run)

    async def _rows(self, fields: str) -> list[RunRow]:
        rows: list[RunRow] = []
        for namespace in ("",) if self.cluster_wide else self._namespaces:
            rows += await self._cluster.list_all(
                EVIDENCE_RUNS, namespace=namespace, field_selector=fields, project=run_row
            )
        return rows
