# SPDX-License-Identifier: Apache-2.0
"""Removes what deleted or complete runs left behind: no finalizer holds a run back, so somebody looks later."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from evidencerun.errors import ClusterError, StoreError, WorldError
from evidencerun.kube.base import CONFIG_MAPS, ClusterPort
from evidencerun_operator import naming
from evidencerun_operator.cleaning import removal
from evidencerun_operator.execute import Executor
from evidencerun_operator.observe import Observer
from evidencerun_operator.run_list import RunList
from evidencerun_operator.storeclient import StoreClient

LOG: Final = logging.getLogger("evidencerun.operator")
PERIOD: Final = 300.0
"""Seconds between two searches for orphans."""
_FORCE_AFTER: Final = 45.0
_GIVE_UP_AFTER: Final = 240.0
_PACE: Final = 1.0


class Janitor:
    """Sweeps up after runs that are gone: on request, at start, and every five minutes."""

    def __init__(
        self, cluster: ClusterPort, store: StoreClient, *, observer: Observer, executor: Executor, runs: RunList
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._observer = observer
        self._executor = executor
        self._runs = runs
        self._wanted: dict[str, bool] = {}
        self._wake = asyncio.Event()

    def request(self, uid: str) -> None:
        """Ask for a sweep after a run that is deleted."""
        self._wanted[uid] = True
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        next_search = time.monotonic()
        while True:
            if time.monotonic() >= next_search:
                await self._search()
                next_search = time.monotonic() + PERIOD
            while self._wanted:
                await self._sweep_logged(*self._wanted.popitem())
            self._wake.clear()
            try:
                async with asyncio.timeout(max(0.0, next_search - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _search(self) -> None:
        """Find runs that have objects or an open entry in the store, but do not exist or are complete.

        What is found is listed first: a run that is made meanwhile then stands in the later list of runs.
        """
        try:
            found = await self._anchored()
            try:
                found |= set(await self._store.open_runs())
            except StoreError as error:
                LOG.warning("janitor: the store does not answer", extra={"why": str(error)})
            existing = await self._runs.all_runs()
        except ClusterError as error:
            LOG.warning("janitor: search failed", extra={"why": str(error)})
            return
        for uid in found - {""}:
            if existing.get(uid, True):
                self._wanted[uid] = uid not in existing

    async def _anchored(self) -> set[str]:
        uids: set[str] = set()
        selector = f"{naming.MANAGED_BY}={naming.MANAGER},{naming.RUN_UID}"
        for namespace in (self._observer.places.probes, self._observer.places.checks):
            uids |= set(
                await self._cluster.list_all(
                    CONFIG_MAPS,
                    namespace=namespace,
                    label_selector=selector,
                    project=lambda body: str((body["metadata"].get("labels") or {}).get(naming.RUN_UID) or ""),
                )
            )
        return uids

    async def _sweep_logged(self, uid: str, gone: bool) -> None:
        try:
            await self.sweep(uid, gone=gone)
        except WorldError as error:
            # The next search finds it again.
            LOG.warning("janitor: sweep failed", extra={"uid": uid, "why": str(error)})

    async def sweep(self, uid: str, *, gone: bool) -> None:
        """Remove every object of a run, then tell the store that it is abandoned (`gone`) or over. Raises `WorldError`.

        What is over keeps its bundle; what is abandoned does not.
        """
        LOG.info("janitor: sweeping", extra={"uid": uid})
        self._observer.forget(uid)
        begun = time.monotonic()
        while True:
            world = await self._observer.children_of(uid)
            if not world.children and not world.pods:
                break
            waited = time.monotonic() - begun
            if waited > _GIVE_UP_AFTER:
                LOG.warning(
                    "janitor: objects are left", extra={"uid": uid, "left": len(world.children) + len(world.pods)}
                )
                break
            for action in removal(world, uid, force=waited > _FORCE_AFTER):
                await self._executor.execute(uid, action)
            await asyncio.sleep(_PACE)
        if uid in await self._store.open_runs():
            await (self._store.abandon(uid) if gone else self._store.close_run(uid))
