# SPDX-License-Identifier: Apache-2.0
"""The operator's process: settings, connections, Kopf's watch, workers, resync and janitor in one event loop.

It remembers nothing that matters: killed at any moment, the next one goes on where this one stopped. If any part ends,
the process ends and is started anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import sys
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import kopf

from evidencerun import __version__
from evidencerun.errors import ClusterError, Error, InputError
from evidencerun.kube.aio import Cluster, connect
from evidencerun.kube.base import CONFIG_MAPS, EVIDENCE_RUNS, ClusterPort
from evidencerun.kube.login import credentials
from evidencerun_operator import crd_age, handlers, jsonlog
from evidencerun_operator.execute import Executor
from evidencerun_operator.health import Health
from evidencerun_operator.janitor import Janitor
from evidencerun_operator.observe import Observer
from evidencerun_operator.queue import Key, WorkQueue
from evidencerun_operator.reconcile import Reconciler
from evidencerun_operator.refusals import Refusals
from evidencerun_operator.run_list import RunList
from evidencerun_operator.settings import Settings, from_environment
from evidencerun_operator.storeclient import StoreClient

LOG: Final = logging.getLogger("evidencerun.operator")
_BREATH: Final = 0.02
"""Seconds between two passes over a run, so that no fault of ours turns into a busy loop."""
_MEANWHILE: Final = 2.0
"""Seconds until a run is looked at again of which an object could not be made."""
_CRD_PATIENCE: Final = 20.0
"""Seconds for CRDs that were applied a moment ago to appear in the served schema."""
_RESYNC: Final = 20.0
"""Seconds between two lists of the unfinished runs: events are an accelerator, not a dependency."""


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


async def worker(queue: WorkQueue, reconciler: Reconciler) -> None:
    """Take keys and make passes, until cancelled."""
    while True:
        key = await queue.take()
        try:
            await _pass(queue, reconciler, key)
        finally:
            queue.done(key)


async def _pass(queue: WorkQueue, reconciler: Reconciler, key: Key) -> None:
    try:
        outcome = await reconciler.reconcile(key)
    except ClusterError as error:
        if error.status == 409:
            # Somebody else wrote the object meanwhile, such as a user's cancel: decide again on what it says now.
            queue.add_after(key, 0.05)
            return
        delay = queue.add_failed(key)
        LOG.warning("pass failed", extra={"run": f"{key.namespace}/{key.name}", "why": str(error), "retry": delay})
    except Exception:
        # A fault of ours in one run must not stop the others; it is logged in full and tried again, ever more slowly.
        delay = queue.add_failed(key)
        LOG.exception("pass broke", extra={"run": f"{key.namespace}/{key.name}", "retry": delay})
    else:
        if outcome.failure is not None:
            queue.add_failed(key)
            if isinstance(outcome.failure, ClusterError) and outcome.requeue_after is not None:
                # One object is in the way: what else the run has under way is looked at meanwhile.
                queue.add_after(key, max(_MEANWHILE, outcome.requeue_after))
            return
        queue.succeeded(key)
        if outcome.requeue_after is not None:
            queue.add_after(key, max(_BREATH, outcome.requeue_after))


async def resync(queue: WorkQueue, runs: RunList, health: Health) -> None:
    """Queue every unfinished run now and then, until cancelled."""
    while True:
        try:
            for row in await runs.open_runs():
                queue.add_unknown(Key(row.namespace, row.name))
        except ClusterError as error:
            LOG.warning("resync failed", extra={"why": str(error)})
        health.beat()
        await asyncio.sleep(_RESYNC)


async def store_ca(cluster: Cluster, settings: Settings) -> str:
    """Return the store's CA as it published it; empty if it has not."""
    try:
        found = await cluster.get(CONFIG_MAPS, "evidence-public", namespace=settings.system_namespace)
    except ClusterError as error:
        LOG.warning("evidence-public cannot be read", extra={"why": str(error)})
        return ""
    return str((found.get("data") or {}).get("ca.crt") or "")


async def cluster_digest(settings: Settings) -> str:
    """Return the digest of the CA certificate that tells this cluster from others; of nothing if there is none."""
    path = (await credentials(kubeconfig=settings.kubeconfig)).ca_path
    data = await asyncio.to_thread(Path(path).read_bytes) if path else b""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def operate(settings: Settings) -> int:
    """Run until a signal, or until a part of it ends. Return the exit code."""
    cluster = await connect(kubeconfig=settings.kubeconfig)
    store = StoreClient(settings.store_url, token_file=settings.token_file, read_ca=lambda: store_ca(cluster, settings))
    try:
        return await _run_parts(cluster, store, settings)
    finally:
        await store.close()
        await cluster.close()


async def require_crds(cluster: ClusterPort, *, patience: float) -> None:
    """Return once the CRDs of this release are served; `patience` seconds for a server that has just got them.

    Raises `InputError` E3602 if they are missing or older.
    """
    end = time.monotonic() + patience
    while True:
        try:
            missing = crd_age.missing_fields(await cluster.openapi(EVIDENCE_RUNS))
        except ClusterError as error:
            if error.status != 404:
                raise
            missing = ["EvidenceRun", "EvidencePolicy"]
        if not missing:
            return
        if time.monotonic() >= end:
            raise InputError(
                "E3602",
                f"the CRDs in the cluster are not those of release {__version__}",
                where="evidenceruns.evidencerun.dev, evidencepolicies.evidencerun.dev",
                why=crd_age.sentence(missing),
                fix=crd_age.FIX,
            )
        await asyncio.sleep(1)


async def _run_parts(cluster: Cluster, store: StoreClient, settings: Settings) -> int:
    queue, health = WorkQueue(), Health()
    runs = RunList(cluster, settings.run_namespaces)
    await require_crds(cluster, patience=_CRD_PATIENCE)
    cluster_wide = await runs.find_scope()
    refusals = Refusals()
    observer = Observer(
        cluster,
        store,
        settings,
        runs=runs,
        refusals=refusals,
        ca_digest=await cluster_digest(settings),
        nonce=lambda: secrets.token_hex(16),
    )
    executor = Executor(cluster, store, refusals)
    janitor = Janitor(cluster, store, observer=observer, executor=executor, runs=runs)
    reconciler = Reconciler(cluster, observer=observer, executor=executor, janitor=janitor, clock=now)
    shell = kopf.operator(
        registry=handlers.registry(queue, runs, janitor, health, kubeconfig=settings.kubeconfig),
        settings=handlers.operator_settings(),
        clusterwide=cluster_wide,
        namespaces=() if cluster_wide else settings.run_namespaces,
        liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
    )
    parts: list[Coroutine[Any, Any, None]] = [worker(queue, reconciler) for _ in range(settings.workers)]
    parts += [resync(queue, runs, health), janitor.run()]
    LOG.info("operator starts", extra={"version": __version__, "clusterWide": cluster_wide})
    return await _until_one_ends(shell, parts)


async def _until_one_ends(shell: Coroutine[Any, Any, None], parts: list[Coroutine[Any, Any, None]]) -> int:
    """Return 0 if Kopf's shell ended by a signal; 1 if anything else ended, so that the process is started anew."""
    main_task = asyncio.create_task(shell)
    tasks = [asyncio.create_task(part) for part in parts]
    done, _ = await asyncio.wait([main_task, *tasks], return_when=asyncio.FIRST_COMPLETED)
    code = 0 if done == {main_task} and main_task.exception() is None else 1
    for task in done:
        if task.exception() is not None:
            LOG.error("a part of the operator ended", exc_info=task.exception())
    for task in (main_task, *tasks):
        task.cancel()
    await asyncio.gather(main_task, *tasks, return_exceptions=True)
    return code


def main() -> int:
    """Entry point."""
    jsonlog.set_up()
    try:
        settings = from_environment(os.environ)
        return asyncio.run(operate(settings))
    except Error as error:
        sys.stderr.write(error.diagnostics() + "\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
