# SPDX-License-Identifier: Apache-2.0
"""One pass over one run: read, decide, act, and write the status last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from evidencerun.errors import ClusterError, StoreError, WorldError
from evidencerun.kube.base import EVIDENCE_RUNS, ClusterPort
from evidencerun_operator.actions import Action, Decision, RecordAttempt, SideBySide
from evidencerun_operator.decide import decide
from evidencerun_operator.execute import Executor
from evidencerun_operator.failures import explained
from evidencerun_operator.janitor import Janitor
from evidencerun_operator.observe import Observer
from evidencerun_operator.queue import Key
from evidencerun_operator.run_events import new_events
from evidencerun_operator.run_object import Run, read_run
from evidencerun_operator.status import RunStatus

LOG: Final = logging.getLogger("evidencerun.operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a pass: when to look again (None: only after an event), and whether something failed."""

    requeue_after: float | None
    failure: WorldError | None = None


class Reconciler:
    """Brings one run one step further; remembers nothing about it."""

    def __init__(
        self,
        cluster: ClusterPort,
        *,
        observer: Observer,
        executor: Executor,
        janitor: Janitor,
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster = cluster
        self._observer = observer
        self._executor = executor
        self._janitor = janitor
        self._clock = clock

    async def reconcile(self, key: Key) -> Outcome:
        """Make one pass. Raises `ClusterError` if the run or the world cannot be read, or the status not written."""
        try:
            # A live read: the event that brought us here may be old.
            body = await self._cluster.get(EVIDENCE_RUNS, key.name, namespace=key.namespace)
        except ClusterError as error:
            if error.status == 404:
                return Outcome(requeue_after=None)
            raise
        run = read_run(body)
        if run.deleting:
            self._janitor.request(run.ref.uid)
            return Outcome(requeue_after=None)
        if run.complete:
            self._observer.forget(run.ref.uid)
            return Outcome(requeue_after=None)
        decision = decide(self._clock(), run, await self._observer.look(run, self._clock()))
        failure = await self._act(run.ref.uid, decision)
        status = decision.status if failure is None else explained(decision.status, failure, now=self._clock())
        written = await self._write(run, status)
        _log(run, decision, status, failure)
        if written:
            await self._tell(run, status)
        return Outcome(requeue_after=decision.requeue_after, failure=failure)

    async def _act(self, uid: str, decision: Decision) -> WorldError | None:
        """Do the actions in their order; return the first failure.

        After a failure of the cluster the next action is still tried. A store that fails ends the pass: all that comes
        later depends on it.
        """
        first: WorldError | None = None
        for action in decision.actions:
            chains = action.chains if isinstance(action, SideBySide) else ((action,),)
            found = [one for one in await asyncio.gather(*(self._follow(uid, chain) for chain in chains)) if one]
            first = first or next(iter(found), None)
            if any(isinstance(one, StoreError) for one in found):
                break
        return first

    async def _follow(self, uid: str, chain: Sequence[Action]) -> WorldError | None:
        for action in chain:
            try:
                await self._executor.execute(uid, action)
            except (ClusterError, StoreError) as error:
                return error
        return None

    async def _write(self, run: Run, status: RunStatus) -> bool:
        wire = status.to_wire()
        if wire == run.raw_status:
            return False
        body: dict[str, Any] = {
            "apiVersion": EVIDENCE_RUNS.api_version,
            "kind": EVIDENCE_RUNS.kind,
            "metadata": {
                "name": run.ref.name,
                "namespace": run.ref.namespace,
                "uid": run.ref.uid,
                "resourceVersion": run.resource_version,
            },
            "status": wire,
        }
        await self._cluster.apply_status(EVIDENCE_RUNS, body)
        return True

    async def _tell(self, run: Run, status: RunStatus) -> None:
        if run.ref.namespace not in self._observer.places.runs:
            return  # there is no right to write events there; the status says all
        for event in new_events(run.ref, run.status, status, now=self._clock()):
            try:
                await self._cluster.create_event(event, namespace=run.ref.namespace)
            except ClusterError as error:
                LOG.warning("event not written", extra={"run": str(run.ref.name), "why": str(error)})
                return


def _log(run: Run, decision: Decision, status: RunStatus, failure: WorldError | None) -> None:
    words = [_word(action) for action in decision.flat()]
    changed = status.phase != run.status.phase or status.verdict != run.status.verdict
    if not (words or changed or failure):
        return
    facts = {
        "run": f"{run.ref.namespace}/{run.ref.name}",
        "uid": run.ref.uid,
        "phase": status.phase,
        "verdict": status.verdict,
        "actions": words,
    }
    if failure is None:
        LOG.info("pass", extra=facts)
    else:
        LOG.warning("pass failed", extra={**facts, "why": str(failure), "code": failure.code})


def _word(action: Action) -> str:
    manifest = getattr(action, "manifest", None)
    name = manifest["metadata"]["name"] if isinstance(manifest, dict) else getattr(action, "name", "")
    request = getattr(action, "request", None)
    if isinstance(action, RecordAttempt) and request is not None:
        name = f"{request.job_name} {request.state}"
    return f"{type(action).__name__} {name}".strip()
