# SPDX-License-Identifier: Apache-2.0
"""The check sidecar's calls: inputs out, results in, each for one attempt whose pod is known to be the ledger's."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from evidencerun import limits
from evidencerun.store import events_log
from evidencerun.store.evaluating import INPUT_FILES
from evidencerun.store.identity import bearer_token, claimed_attempt, require_account
from evidencerun.store.ledger import LedgerEntry
from evidencerun.store.refusals import RefusalError, conflict, forbidden, not_found
from evidencerun.store.requests import BODIES, json_answer, service_of
from evidencerun.store.runs import Run
from evidencerun.store.sending import send_file
from evidencerun.validation.spec import Rights
from evidencerun.validation.storeapi import check_audience

_ACCOUNT_OF: Final = {rights: f"evidence-check-{rights}" for rights in Rights}


async def get_input(request: web.Request) -> web.StreamResponse:
    """Return one of the input files, in pieces: nodes.json may have hundreds of megabytes, and checks run together."""
    run, _ = await _attempt(request, named=None)
    name = request.match_info["file"]
    if name not in INPUT_FILES or run.evaluation is None:
        raise not_found(f"input {name[:80]}")
    return await send_file(request, run.folder.evaluation / name, "application/octet-stream")


async def put_result(request: web.Request) -> web.Response:
    """Store one result file, replacing its earlier content."""
    number = request.match_info["attempt"]
    if not number.isascii() or not number.isdecimal() or len(number) > 4:
        raise not_found("the attempt")
    run, entry = await _attempt(request, named=(request.match_info["check"], int(number)))
    if entry.judged is not None or run.closed is not None:
        raise conflict("the attempt has been judged", why="it takes no more results")
    name = request.match_info["file"]
    async with request.app[BODIES].body(request, what="the result", limit=limits.RESULT_FILE_MAX) as body:
        await asyncio.to_thread(run.folder.put_result, entry.key, name, body)
    events_log.note(
        "result.stored", run=run.card.uid, check=entry.check, attempt=entry.attempt, file=name, size=len(body)
    )
    return json_answer(b"{}", status=201)


async def _attempt(request: web.Request, *, named: tuple[str, int] | None) -> tuple[Run, LedgerEntry]:
    """Return run and ledger entry for the calling sidecar.

    The path of inputs names no attempt, so the token itself says which one to ask the API server for.
    """
    service = service_of(request)
    uid = request.match_info["uid"]
    token = bearer_token(request.headers.get("Authorization", ""))
    key = named or claimed_attempt(token, uid)
    if key is None:
        raise RefusalError(401, "E4511", "the token was not accepted", why="it is not made for an attempt of this run")
    caller = await service.identities.caller(token, audience=check_audience(uid, *key))
    accounts = list(_ACCOUNT_OF.values())
    require_account(caller, namespace=service.settings.checks_namespace, accounts=accounts)
    run = service.runs.get(uid)
    entry = run.ledger.get(key)
    if entry is None:
        raise not_found(f"attempt {key[1]} of {key[0]}")
    rights = run.catalog[(entry.check, entry.phase)].rights
    require_account(caller, namespace=service.settings.checks_namespace, accounts=[_ACCOUNT_OF[rights]])
    if not await service.attempts.pods.owned_by(run, entry, pod_name=caller.pod_name, pod_uid=caller.pod_uid):
        raise forbidden("the pod is not of this attempt", f"{caller.pod_name} is not controlled by {entry.job_name}")
    return run, entry


ROUTES: Final = [
    web.get("/v1/runs/{uid}/inputs/{file}", get_input),
    web.put("/v1/runs/{uid}/checks/{check}/{attempt}/{file}", put_result),
]
