# SPDX-License-Identifier: Apache-2.0
"""The event shell: Kopf tells that something happened to a run, the queue decides when it is looked at.

Only EvidenceRuns are watched. Kopf watches every kind in every namespace that it is given, and a watch of Jobs or
DaemonSets everywhere would need rights that the operator has not; children are polled instead, at the pace of the
stage that waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kopf

from evidencerun.kube.base import EVIDENCE_RUNS
from evidencerun.kube.login import Credentials, credentials
from evidencerun_operator.health import Health
from evidencerun_operator.janitor import Janitor
from evidencerun_operator.queue import Key, WorkQueue
from evidencerun_operator.run_list import RunList, run_row


class Backoff:
    """Delays between attempts to reach the API server; a class, because Kopf iterates over it at every outage."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1, 2, 4, 8)
        for _ in range(60):
            yield 10


def operator_settings() -> kopf.OperatorSettings:
    """Return Kopf's settings: no peering, no scanning, no events, no state of its own on objects."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    settings.watching.inactivity_timeout = 360
    settings.watching.chunk_size = 100
    settings.queueing.idle_timeout = 1.0
    settings.networking.error_backoffs = Backoff()
    settings.networking.enforce_retry_after = True
    settings.process.ultimate_exiting_timeout = 10
    return settings


def registry(
    queue: WorkQueue, runs: RunList, janitor: Janitor, health: Health, *, kubeconfig: str
) -> kopf.OperatorRegistry:
    """Return the handlers."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        """Log in with what the API client uses; Kopf asks again when the token is refused."""
        return connection_info(await credentials(kubeconfig=kubeconfig))

    @kopf.on.probe(registry=handlers, id="alive")
    async def alive(**_: Any) -> dict[str, Any]:
        """Report health; raises if the loops do not turn any more."""
        fault = health.fault()
        if fault:
            raise kopf.PermanentError(fault)
        return {"queue": len(queue)}

    @kopf.on.event(EVIDENCE_RUNS.group, EVIDENCE_RUNS.version, EVIDENCE_RUNS.plural, registry=handlers, id="on-run")
    async def on_run(type: str | None, body: Any, **_: Any) -> None:  # noqa: A002 (Kopf's name)
        """Queue a run that is not finished; have the janitor look after one that is gone."""
        row = run_row(dict(body))
        runs.saw(row, gone=type == "DELETED")
        if type == "DELETED":
            janitor.request(row.uid)
        elif not row.complete:
            queue.add(Key(row.namespace, row.name))

    return handlers


def connection_info(found: Credentials) -> kopf.ConnectionInfo:
    """Return credentials in Kopf's form."""
    return kopf.ConnectionInfo(
        server=found.server,
        ca_path=found.ca_path or None,
        insecure=found.insecure or None,
        token=found.token or None,
        certificate_path=found.certificate_path or None,
        private_key_path=found.key_path or None,
        trust_env=False,
    )
