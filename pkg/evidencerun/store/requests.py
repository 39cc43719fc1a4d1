# SPDX-License-Identifier: Apache-2.0
"""What all handlers share: who may call, JSON in and out, errors as `Status` objects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel

from evidencerun import limits
from evidencerun.errors import Error
from evidencerun.store import events_log
from evidencerun.store.bodies import BodyGate, parse_model
from evidencerun.store.disk import VolumeFullError
from evidencerun.store.identity import Caller, bearer_token, require_account
from evidencerun.store.listening import heard
from evidencerun.store.refusals import RefusalError, as_refusal, status_body
from evidencerun.store.service import StoreService
from evidencerun.validation.storeapi import STORE_AUDIENCE

OPERATOR: Final = "evidence-operator"
SEALER: Final = "evidence-sealer"
SERVICE: Final = web.AppKey("service", StoreService)
BODIES: Final = web.AppKey("bodies", BodyGate)
LARGE_BODIES: Final = web.AppKey("large_bodies", BodyGate)
_LOGGED: Final = frozenset({"uid", "check", "attempt", "file"})
"""Parts of paths that go into the log; the keys of logs do not."""
M = TypeVar("M", bound=BaseModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def service_of(request: web.Request) -> StoreService:
    """Return the store behind a request."""
    return request.app[SERVICE]


async def require(request: web.Request, account: str, *, audience: str = STORE_AUDIENCE) -> Caller:
    """Let only this ServiceAccount of the system namespace pass; raises `RefusalError` 401, 403 or 503."""
    service = service_of(request)
    token = bearer_token(request.headers.get("Authorization", ""))
    caller = await service.identities.caller(token, audience=audience)
    require_account(caller, namespace=service.settings.system_namespace, accounts=[account])
    return caller


async def json_body(request: web.Request, model: type[M], *, what: str, limit: int = limits.STORE_BODY_MAX) -> M:
    """Read a JSON body as a model, within bounds."""
    gate = request.app[LARGE_BODIES if limit > limits.STORE_BODY_MAX else BODIES]
    async with gate.body(request, what=what, limit=limit) as data:
        return await asyncio.to_thread(parse_model, model, data, what=what, limit=limit)


def answer(model: BaseModel, *, status: int = 200) -> web.Response:
    """Return a model as JSON."""
    return json_answer(model.model_dump_json(by_alias=True).encode(), status=status)


def json_answer(data: bytes, *, status: int = 200) -> web.Response:
    """Return JSON bytes as they are."""
    return web.Response(body=data, status=status, content_type="application/json")


def refuse(refusal: RefusalError) -> web.Response:
    """Return a refusal as a `Status` object."""
    response = json_answer(status_body(refusal), status=refusal.status)
    if refusal.retry_after:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


@web.middleware
async def errors_as_status(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as a `Status` object, and log it in one line."""
    heard(request)
    try:
        answer = await handler(request)
    except Error as fault:
        refusal = as_refusal(fault)
        if isinstance(fault, VolumeFullError):
            service_of(request).volume.refused(str(fault))
    except web.HTTPException as fault:
        refusal = RefusalError(fault.status, "E4504", (fault.reason or "no such path").lower())
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as fault:
        events_log.failed("request.failed", fault, method=request.method, route=_route(request))
        refusal = RefusalError(500, "E4599", "the store failed", why="its log says more")
    else:
        if answer.status == 201:
            service_of(request).volume.took()
        return parting(request, answer)
    if refusal.status != 404:
        events_log.note(
            "request.refused",
            method=request.method,
            route=_route(request),
            **{name: value for name, value in request.match_info.items() if name in _LOGGED},
            status=refusal.status,
            code=refusal.code,
            why=f"{refusal.what}: {refusal.why}" if refusal.why else refusal.what,
            causes=list(refusal.causes[:5]),
        )
    return parting(request, refuse(refusal))


Answer = TypeVar("Answer", bound=web.StreamResponse)


def parting(request: web.Request, answer: Answer) -> Answer:
    """Keep no connection open for a stranger: idle ones would fill the places of those who have a token."""
    if "Authorization" not in request.headers or answer.status in (401, 403):
        answer.force_close()
    return answer


def _route(request: web.Request) -> str:
    """Return the pattern of the path, never the path: keys of logs stand in paths."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
