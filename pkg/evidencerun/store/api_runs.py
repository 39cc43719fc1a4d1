# SPDX-License-Identifier: Apache-2.0
"""The operator's calls: plans, attempts, evaluation, sealing, closing."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from evidencerun import limits
from evidencerun.store.requests import OPERATOR, answer, json_answer, json_body, require, service_of
from evidencerun.validation.plan import Plan
from evidencerun.validation.spec import SpecModel
from evidencerun.validation.storeapi import AttemptRequest, SealRequest, Text

_SEAL_PATIENCE: Final = 10
"""`POST …/seal` waits so long for the bundle; `GET` tells the rest."""


class EvaluateRequest(SpecModel):
    """Body of `POST …/evaluate`."""

    stragglers: Annotated[dict[Text, Text], Field(default_factory=dict, max_length=limits.NODES_MAX)]


async def put_run(request: web.Request) -> web.Response:
    """Create a run with its whole plan, or return the stored plan."""
    await require(request, OPERATOR)
    uid = request.match_info["uid"]
    service = service_of(request)
    existing = service.runs.find(uid)
    if existing is not None:
        return json_answer(await asyncio.to_thread(existing.folder.read, "plan.json"))
    plan = await json_body(request, Plan, what="the plan", limit=limits.PLAN_MAX)
    run, created = await service.create(uid, plan)
    return json_answer(await asyncio.to_thread(run.folder.read, "plan.json"), status=201 if created else 200)


async def get_run(request: web.Request) -> web.Response:
    """Return the RunView."""
    await require(request, OPERATOR)
    service = service_of(request)
    return answer(service.view(service.runs.get(request.match_info["uid"])))


async def get_plan(request: web.Request) -> web.Response:
    """Return the stored plan's bytes."""
    await require(request, OPERATOR)
    run = service_of(request).runs.get(request.match_info["uid"])
    return json_answer(await asyncio.to_thread(run.folder.read, "plan.json"))


async def list_runs(request: web.Request) -> web.Response:
    """Return the runs that are not closed."""
    await require(request, OPERATOR)
    cards = [run.card for run in service_of(request).runs if run.closed is None]
    runs = [{"uid": card.uid, "namespace": card.namespace, "name": card.name} for card in cards]
    return json_answer(json.dumps({"runs": runs}).encode())


async def post_attempt(request: web.Request) -> web.Response:
    """Take news of an attempt."""
    await require(request, OPERATOR)
    service = service_of(request)
    run = service.runs.get(request.match_info["uid"])
    news = await json_body(request, AttemptRequest, what="the attempt")
    return answer(await service.attempts.record(run, news))


async def post_evaluate(request: web.Request) -> web.Response:
    """Evaluate the reports, once."""
    await require(request, OPERATOR)
    service = service_of(request)
    run = service.runs.get(request.match_info["uid"])
    asked = await json_body(
        request, EvaluateRequest, what="the request to evaluate", limit=limits.STORE_REASONS_BODY_MAX
    )
    return answer(await service.evaluate(run, dict(asked.stragglers)))


async def post_seal(request: web.Request) -> web.Response:
    """Order the bundle, once."""
    await require(request, OPERATOR)
    service = service_of(request)
    run = service.runs.get(request.match_info["uid"])
    asked = await json_body(request, SealRequest, what="the request to seal", limit=limits.STORE_REASONS_BODY_MAX)
    await service.seal(run, asked, patience=_SEAL_PATIENCE)
    return answer(service.view(run), status=202)


async def post_close(request: web.Request) -> web.Response:
    """Begin the retention of the bundle."""
    await require(request, OPERATOR)
    service = service_of(request)
    run = service.runs.get(request.match_info["uid"])
    await service.close(run)
    return answer(service.view(run))


async def delete_run(request: web.Request) -> web.Response:
    """Abandon a run; one that is not known is gone already."""
    await require(request, OPERATOR)
    service = service_of(request)
    run = service.runs.find(request.match_info["uid"])
    if run is not None:
        await service.abandon(run)
    return web.Response(status=204)


ROUTES: Final = [
    web.get("/v1/runs", list_runs),
    web.put("/v1/runs/{uid}", put_run),
    web.get("/v1/runs/{uid}", get_run),
    web.delete("/v1/runs/{uid}", delete_run),
    web.get("/v1/runs/{uid}/plan", get_plan),
    web.post("/v1/runs/{uid}/attempts", post_attempt),
    web.post("/v1/runs/{uid}/evaluate", post_evaluate),
    web.post("/v1/runs/{uid}/seal", post_seal),
    web.post("/v1/runs/{uid}/close", post_close),
]
