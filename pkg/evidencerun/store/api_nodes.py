# SPDX-License-Identifier: Apache-2.0
"""The probe's calls: one report per node; which node is the token's word, never the body's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Final

from aiohttp import web

from evidencerun import limits
from evidencerun.canonical import sha256_hex
from evidencerun.snapshot.report import NodeReport
from evidencerun.store import events_log, report_files
from evidencerun.store.bodies import inflate, parse_model
from evidencerun.store.identity import Caller, bearer_token, require_account
from evidencerun.store.refusals import RefusalError, conflict, forbidden
from evidencerun.store.report_files import Kept, Origin
from evidencerun.store.requests import BODIES, json_answer, service_of
from evidencerun.store.runs import Run
from evidencerun.validation.storeapi import probe_audience

PROBE: Final = "evidence-probe"


async def put_report(request: web.Request) -> web.Response:
    """Store a node's report; 201 once it is on the volume, 200 for a repeat and for a second, different one."""
    run, caller = await _probe(request)
    if run.closed is not None or run.order is not None:
        raise conflict("the run takes no more reports", why="it is being sealed or was closed")
    if request.headers.get("Content-Encoding", "").lower() != "gzip":
        raise RefusalError(415, "E4515", "a report must be sent with Content-Encoding: gzip")
    async with request.app[BODIES].body(request, what="the report", limit=limits.REPORT_GZIP_MAX) as body:
        content, report = await asyncio.to_thread(_read_report, body, _share(run))
        _check_claims(report, run, caller)
        origin = Origin(
            node_uid=caller.node_uid,
            node_name=caller.node_name,
            pod_uid=caller.pod_uid,
            pod_name=caller.pod_name,
            received_at=service_of(request).now(),
            sha256=sha256_hex(content),
        )
        kept = await asyncio.to_thread(report_files.keep, _folder(run, caller), origin, body)
    if caller.node_uid in run.targets:
        run.reported.add(caller.node_uid)
    _note(run, caller, kept, origin)
    document = {"sha256": origin.sha256, "conflict": kept is Kept.CONFLICT}
    return json_answer(json.dumps(document).encode(), status=201 if kept is Kept.FIRST else 200)


async def head_report(request: web.Request) -> web.Response:
    """Say whether the calling node's report is stored: 200 or 404."""
    run, caller = await _probe(request)
    stored = await asyncio.to_thread((_folder(run, caller) / caller.node_uid).exists)
    return web.Response(status=200 if stored else 404)


async def _probe(request: web.Request) -> tuple[Run, Caller]:
    """Return run and caller. The token is judged first, so that strangers learn nothing about runs."""
    service = service_of(request)
    uid = request.match_info["uid"]
    token = bearer_token(request.headers.get("Authorization", ""))
    caller = await service.identities.caller(token, audience=probe_audience(uid))
    require_account(caller, namespace=service.settings.probes_namespace, accounts=[PROBE])
    return service.runs.get(uid), caller


def _share(run: Run) -> int:
    """Return how long a report may be, so that those of all target nodes fit into the bundle."""
    return min(limits.REPORT_MAX, limits.RUN_REPORTS_MAX // max(1, len(run.targets)))


def _read_report(body: bytes, at_most: int) -> tuple[bytes, NodeReport]:
    content = inflate(body, what="the report", limit=at_most)
    return content, parse_model(
        NodeReport, content, what="the report", limit=limits.REPORT_MAX, values=limits.REPORT_VALUES_MAX
    )


def _check_claims(report: NodeReport, run: Run, caller: Caller) -> None:
    if report.node_name != caller.node_name:
        events_log.warn("report.forged", run=run.card.uid, node=caller.node_name, claimed=report.node_name[:253])
        raise forbidden("the report is about another node", f"the token is of {caller.node_name}")
    if report.run_uid != run.card.uid:
        raise forbidden("the report is of another run", f"it says {report.run_uid}")


def _folder(run: Run, caller: Caller) -> Path:
    return run.folder.nodes if caller.node_uid in run.targets else run.folder.joined


def _note(run: Run, caller: Caller, kept: Kept, origin: Origin) -> None:
    level = events_log.warn if kept is Kept.CONFLICT else events_log.note
    target = caller.node_uid in run.targets
    level("report.stored", run=run.card.uid, node=caller.node_name, kept=kept, target=target, sha256=origin.sha256)


ROUTES: Final = [
    web.put("/v1/runs/{uid}/nodes/self", put_report),
    web.head("/v1/runs/{uid}/nodes/self", head_report),
]
