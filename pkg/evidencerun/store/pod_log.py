# SPDX-License-Identifier: Apache-2.0
"""Follows the log of a check's container from its first byte, so that a killed check leaves its log behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evidencerun.errors import ClusterError, StoreError
from evidencerun.kube.base import PODS, ClusterPort
from evidencerun.kube.pod_ending import VALIDATOR, container_ending, container_start, started
from evidencerun.store.ledger import LogFacts
from evidencerun.store.log_file import LogFile
from evidencerun.validation.storeapi import ContainerEnding, PodRef

_SHORT: Final = 0.3
_LONG: Final = 1.0
_COMPARED: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The pod is no longer in the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A pod as the API has it."""

    pod: dict[str, Any]


class LogFollower:
    """Follows one pod's log into one file until its container has ended or the pod is gone.

    `ending` is the last ending that was seen, and `container` the last start; they outlive the pod.
    """

    def __init__(self, cluster: ClusterPort, *, namespace: str, pod: PodRef, path: Path) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._pod = pod
        self._path = path
        self._wake = asyncio.Event()
        self._pause = _SHORT
        self._stopped = ""
        self.ending: ContainerEnding | None = None
        self.container: ContainerEnding | None = None

    @property
    def pod_uid(self) -> str:
        """The uid of the pod that is followed."""
        return self._pod.uid

    def hurry(self) -> None:
        """Look at once: the pod is said to have ended."""
        self._wake.set()

    async def stop(self, task: asyncio.Task[LogFacts], reason: str) -> LogFacts:
        """End the following at once and return what is kept; the facts say `reason`."""
        self._stopped = reason
        task.cancel()
        await asyncio.wait({task})
        return LogFacts(reason=reason, container=self.container) if task.cancelled() else task.result()

    async def look(self) -> Seen | Gone:
        """Read the pod; raises `ClusterError` if the API does not answer."""
        try:
            pod = await self._cluster.get(PODS, self._pod.name, namespace=self._namespace)
        except ClusterError as fault:
            if fault.status == 404:
                return Gone()
            raise
        if (pod.get("metadata") or {}).get("uid") != self._pod.uid:
            return Gone()
        self.ending = container_ending(pod) or self.ending
        self.container = container_start(pod) or self.container
        return Seen(pod=pod)

    async def run(self) -> LogFacts:
        """Follow to the end and return what is kept. Raises nothing but cancellation; trouble is named in the facts."""
        try:
            log = LogFile(self._path)
        except StoreError as fault:
            return LogFacts(reason=str(fault), container=self.container)
        try:
            complete, reason = await self._follow(log)
        except asyncio.CancelledError:
            if not self._stopped:
                log.close()
                raise
            complete, reason = False, self._stopped
        except StoreError as fault:
            complete, reason = False, str(fault)
        try:
            await asyncio.to_thread(log.close)
        except StoreError as fault:
            complete, reason = False, str(fault)
        if log.dropped and complete:
            reason = f"{log.dropped} bytes were dropped in its middle"
        complete = complete and not log.dropped
        return LogFacts(size=log.size, dropped=log.dropped, complete=complete, reason=reason, container=self.container)

    async def _follow(self, log: LogFile) -> tuple[bool, str]:
        """Return whether the log is whole, and if not, why."""
        trouble = ""
        while True:
            try:
                seen = await self.look()
                if isinstance(seen, Gone):
                    return False, "the pod was gone before the end of its log was confirmed"
                if started(seen.pod):
                    if self.ending is not None:
                        return await self._last_pass(log)
                    await self._stream(log, follow=True)
                    trouble = ""
                elif self.ending is not None:
                    return False, "the container never started"
            except ClusterError as fault:
                trouble = str(fault)
            await self._rest(trouble)

    async def _stream(self, log: LogFile, *, follow: bool) -> None:
        """Read the log from its start to the end of the stream."""
        log.begin_stream()
        async for piece in self._pieces(follow=follow):
            log.feed(piece)
            self._pause = _SHORT

    async def _last_pass(self, log: LogFile) -> tuple[bool, str]:
        """Read the log of the ended container once more: a stream may end early without an error.

        The kubelet keeps the last file of a rotated log only, so the ends are compared before the beginnings.
        """
        last = b""
        async for piece in self._pieces(follow=False):
            last = (last + piece)[-_COMPARED:]
        if not log.size or not log.ends_with(last):
            await self._stream(log, follow=False)
        return not log.rotated, "the kubelet rotated it while the store was away" if log.rotated else ""

    def _pieces(self, *, follow: bool) -> AsyncIterator[bytes]:
        name, namespace = self._pod.name, self._namespace
        return self._cluster.pod_log(name, namespace=namespace, container=VALIDATOR, follow=follow)

    async def _rest(self, trouble: str) -> None:
        """Wait a moment, longer each time while nothing works."""
        self._pause = min(self._pause * (1.5 if trouble else 1.2), _LONG)
        try:
            async with asyncio.timeout(self._pause):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
        self._pause = _SHORT
