# SPDX-License-Identifier: Apache-2.0
"""Attempts as they happen: the ledger first, then the pod's log, its ending, its results, and the judgement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from evidencerun import limits
from evidencerun.bom.images import image_digest
from evidencerun.errors import Error
from evidencerun.kube.base import ClusterPort
from evidencerun.kube.pod_ending import (
    BARE_REASONS,
    POD_DELETED,
    container_ending,
    never_started,
    sidecar_ended,
    started,
)
from evidencerun.store import events_log, ledger
from evidencerun.store.attempt_pods import AttemptPods
from evidencerun.store.ledger import AttemptKey, Judged, LedgerEntry, LogFacts
from evidencerun.store.log_file import read_log
from evidencerun.store.pod_log import Gone, LogFollower, Seen
from evidencerun.store.refusals import conflict
from evidencerun.store.runs import Run
from evidencerun.validation.duration import parse_duration
from evidencerun.validation.outcome import judge, over_time, ran_over, without_image
from evidencerun.validation.storeapi import (
    AttemptRequest,
    AttemptState,
    AttemptView,
    ContainerEnding,
    PodRef,
    SealReason,
)

_BROKEN_OFF: Final = {SealReason.CANCELLED: "RunCancelled", SealReason.DEADLINE: "RunDeadline"}
_LOOK_SECONDS: Final = 0.25
_ANSWER_SECONDS: Final = 2
"""`POST …/attempts` waits so long for the judgement, which saves the operator a look; it repeats its news anyway."""
_GIVEN_UP_SECONDS: Final = 3
_TAIL_READ: Final = 256 * limits.KIB
_GONE: Final = ContainerEnding(reason="PodGone", message="the pod was gone before its ending could be read")


class Attempts:
    """Follows the attempts of all runs; `now` returns RFC 3339 in UTC."""

    def __init__(self, cluster: ClusterPort, *, checks_namespace: str, now: Callable[[], str]) -> None:
        self._cluster = cluster
        self._namespace = checks_namespace
        self._now = now
        self.pods = AttemptPods(cluster, checks_namespace)
        self._followers: dict[tuple[str, AttemptKey], tuple[LogFollower, asyncio.Task[LogFacts]]] = {}
        self._finishers: dict[tuple[str, AttemptKey], asyncio.Task[None]] = {}

    async def record(self, run: Run, request: AttemptRequest) -> AttemptView:
        """Take news of an attempt; the same news twice changes nothing. Raises `RefusalError` 409."""
        key = (request.check, request.attempt)
        # Asked before the lock is taken: a slow API server must not keep the run's other attempts waiting.
        found = await self._new_pod(run, request)
        async with run.lock:
            entry = run.ledger.get(key)
            if entry is None:
                entry = await self._enter(run, request)
            ledger.check_same(entry, request)
            if found is not None:
                entry = await self._bind(run, entry, found)
            if request.state is AttemptState.ENDED and entry.judged is None and not entry.ended_at:
                entry = entry.model_copy(update={"ended_at": self._now(), "told": request.ending})
                await self._save(run, entry)
            self._continue(run, entry)
        finisher = self._finishers.get((run.card.uid, key))
        if finisher is not None:
            await asyncio.wait({finisher}, timeout=_ANSWER_SECONDS)
        return run.ledger[key].view(run.folder.result_names(key))

    async def _enter(self, run: Run, request: AttemptRequest) -> LedgerEntry:
        if request.state is not AttemptState.CREATED:
            what = f"attempt {request.attempt} of {request.check} is not in the ledger"
            raise conflict(what, why="it is entered before its Job is created")
        if run.order is not None or run.closed is not None:
            raise conflict("the run is being sealed", why="no attempt begins any more")
        entry = ledger.new_entry(request, run_uid=run.card.uid, catalog=run.catalog, ledger=run.ledger, now=self._now())
        await self._save(run, entry)
        events_log.note("attempt.entered", run=run.card.uid, check=entry.check, attempt=entry.attempt)
        return entry

    async def _new_pod(self, run: Run, request: AttemptRequest) -> PodRef | None:
        pod, entry = request.pod, run.ledger.get((request.check, request.attempt))
        if pod is None or entry is None or _has(entry, pod):
            return None
        return await self.pods.look_up(run, entry, pod, gone_is_fine=request.state is AttemptState.ENDED)

    async def _bind(self, run: Run, entry: LedgerEntry, pod: PodRef) -> LedgerEntry:
        if _has(entry, pod):
            return entry
        entry = entry.model_copy(update={"pods": [*entry.pods, pod]})
        await self._save(run, entry)
        events_log.note("attempt.pod", run=run.card.uid, check=entry.check, attempt=entry.attempt, pod=pod.name)
        return entry

    async def _save(self, run: Run, entry: LedgerEntry) -> None:
        await asyncio.to_thread(run.folder.save_entry, entry)
        run.ledger[entry.key] = entry

    async def settle(self, run: Run, reason: SealReason) -> None:
        """Bring every attempt to a judgement before the bundle is assembled: what still runs is given up."""
        told = ContainerEnding(reason=_BROKEN_OFF.get(reason, "RunEnded"), message="it ran when the run was sealed")
        async with run.lock:
            for entry in [entry for entry in run.ledger.values() if entry.judged is None]:
                if not entry.ended_at:
                    ended = entry.model_copy(update={"ended_at": self._now(), "told": told})
                    await self._save(run, ended)
                self._continue(run, run.ledger[entry.key])
        finishers = [task for place, task in self._finishers.items() if place[0] == run.card.uid]
        if finishers:
            await asyncio.wait(finishers)

    def resume(self, run: Run) -> None:
        """Go on with whatever had begun when the store stopped."""
        for entry in run.ledger.values():
            self._continue(run, entry)

    def _continue(self, run: Run, entry: LedgerEntry) -> None:
        """Start the follower and the finisher that the entry calls for, if they are not at work."""
        if entry.judged is not None:
            return
        place = (run.card.uid, entry.key)
        if entry.pods:
            known = self._followers.get(place)
            if known is None or known[0].pod_uid != entry.pods[-1].uid:
                path = run.folder.attempt_folder(entry.key) / f"log-{len(entry.pods) - 1}"
                follower = LogFollower(self._cluster, namespace=self._namespace, pod=entry.pods[-1], path=path)
                self._followers[place] = (follower, asyncio.create_task(follower.run()))
        if entry.ended_at and place not in self._finishers:
            self._finishers[place] = asyncio.create_task(self._finish_forever(run, entry.key))

    async def _finish_forever(self, run: Run, key: AttemptKey) -> None:
        """Bring an attempt to its judgement, through full volumes and API servers that are away."""
        place = (run.card.uid, key)
        pause = 1.0
        while run.closed is None:
            try:
                await self._finish(run, key)
                break
            except Error as fault:
                events_log.warn("attempt.unfinished", run=run.card.uid, check=key[0], attempt=key[1], why=str(fault))
            except Exception as fault:  # a fault of ours must not leave the run without an outcome for ever
                events_log.failed("attempt.unfinished", fault, run=run.card.uid, check=key[0], attempt=key[1])
            await asyncio.sleep(pause)
            pause = min(pause * 2, 15)
        self._finishers.pop(place, None)
        self._followers.pop(place, None)

    async def _finish(self, run: Run, key: AttemptKey) -> None:
        entry = run.ledger[key]
        follower, task = self._followers.get((run.card.uid, key), (None, None))
        if follower is not None and task is not None:
            seen_by, ending = await self._await_ending(follower, entry.told)
            log = await self._await_log(follower, task, never_ran=not ending.started_at)
        else:
            seen_by, ending = "operator", entry.told or _GONE
            log = LogFacts(reason="there was no pod")
        judged = await asyncio.to_thread(self._judge, run, entry, seen_by, ending, log)
        async with run.lock:
            if run.ledger[key].judged is None:
                await self._save(run, run.ledger[key].model_copy(update={"judged": judged}))
        events_log.note(
            "attempt.judged",
            run=run.card.uid,
            check=key[0],
            attempt=key[1],
            status=judged.status,
            reason=judged.reason,
            exit_code=ending.exit_code,
            log_complete=log.complete,
        )

    async def _await_ending(self, follower: LogFollower, told: ContainerEnding | None) -> tuple[str, ContainerEnding]:
        """Wait, within bounds, until the pod shows its ending and its sidecar has uploaded everything.

        A container that still runs although the operator calls it ended was given up: it gets a moment only.
        """
        began = asyncio.get_running_loop().time()
        while True:
            match await follower.look():
                case Gone():
                    break
                case Seen(pod=pod) if follower.ending is not None and sidecar_ended(pod):
                    break
                case Seen(pod=pod) if not started(pod) and not container_ending(pod):
                    return "store", _not_started(pod, told)
            patience = _GIVEN_UP_SECONDS if follower.ending is None else limits.RESULTS_WAIT_SECONDS
            if asyncio.get_running_loop().time() > began + patience:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if follower.ending is not None:
            return "store", _explained(follower.ending, told)
        return "operator", told or _GONE

    async def _await_log(self, follower: LogFollower, task: asyncio.Task[LogFacts], *, never_ran: bool) -> LogFacts:
        follower.hurry()
        patience = 1 if never_ran and follower.ending is None else limits.LOG_WAIT_SECONDS
        done, _ = await asyncio.wait({task}, timeout=patience)
        if done:
            return task.result()
        reason = "the container never started" if never_ran else f"its end did not come within {patience} s"
        return await follower.stop(task, reason)

    def _judge(self, run: Run, entry: LedgerEntry, seen_by: str, ending: ContainerEnding, log: LogFacts) -> Judged:
        uploaded = run.folder.result_names(entry.key)
        text = attempt_log(run, entry, log.dropped)[-_TAIL_READ:].decode("utf-8", "replace")
        outcome = judge(ending, log_tail=text, uploaded=uploaded)
        planned = run.catalog.get((entry.check, entry.phase))
        if planned is not None and ran_over(ending, parse_duration(planned.timeout)):
            outcome = over_time(outcome)
        if not image_digest(ending.image_id):
            outcome = without_image(outcome)
        return Judged(
            ending=ending,
            seen_by=seen_by,
            status=outcome.status,
            reason=outcome.reason,
            message=outcome.message,
            log=log,
            results=uploaded,
            judged_at=self._now(),
        )

    async def forget(self, run: Run) -> None:
        """Stop following a run that is closed or abandoned."""
        finishers = [place for place in self._finishers if place[0] == run.card.uid]
        followers = [place for place in self._followers if place[0] == run.card.uid]
        tasks: list[asyncio.Task[Any]] = [self._finishers.pop(place) for place in finishers]
        await _cancel([*tasks, *(self._followers.pop(place)[1] for place in followers)])

    async def stop(self) -> None:
        """Stop all following; what was received is on the volume."""
        await _cancel([*self._finishers.values(), *(task for _, task in self._followers.values())])


def _has(entry: LedgerEntry, pod: PodRef) -> bool:
    """Return whether a pod is nothing new to an attempt; after its judgement none is."""
    return entry.judged is not None or any(known.uid == pod.uid for known in entry.pods)


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def attempt_log(run: Run, entry: LedgerEntry, dropped: int) -> bytes:
    """Return the whole log of an attempt; logs of replaced pods come first, each under its pod's name.

    A log that is not whole says so in its last line.
    """
    folder = run.folder.attempt_folder(entry.key)
    judged = entry.judged
    end = b""
    if judged is not None and not judged.log.complete and judged.log.reason and entry.pods:
        end = f"\n[evidencerun: this log is not whole: {judged.log.reason}]\n".encode()
    if len(entry.pods) <= 1:
        return read_log(folder / "log-0", dropped) + end
    parts = []
    for index, pod in enumerate(entry.pods):
        parts.append(f"[evidencerun: pod {pod.name}]\n".encode())
        parts.append(read_log(folder / f"log-{index}", dropped if index == len(entry.pods) - 1 else 0))
    return b"".join(parts) + end


def _explained(ending: ContainerEnding, told: ContainerEnding | None) -> ContainerEnding:
    """Return the ending of a deleted pod with the operator's reason, if it gave one: it deletes what it gives up."""
    if ending.reason != POD_DELETED or told is None or told.reason in BARE_REASONS:
        return ending
    return ending.model_copy(update={"reason": told.reason, "message": told.message or ending.message})


def _not_started(pod: dict[str, Any], told: ContainerEnding | None) -> ContainerEnding:
    """Return the ending of a container that has not started when the operator gave up on it."""
    reason, message = never_started(pod)
    if reason:
        return ContainerEnding(reason=reason, message=message[: limits.TERMINATION_MESSAGE_MAX])
    return told or ContainerEnding(reason="NeverStarted", message="the container has not started")
