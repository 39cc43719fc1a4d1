# SPDX-License-Identifier: Apache-2.0
"""The sealer's calls: the next bundle to sign, its layer, the answer, the public key."""

from __future__ import annotations

import asyncio
import base64
from typing import Final

from aiohttp import web

from evidencerun import limits
from evidencerun.store import events_log
from evidencerun.store.public_keys import Publisher
from evidencerun.store.requests import BODIES, SEALER, answer, json_answer, json_body, require, service_of
from evidencerun.store.sending import send_file
from evidencerun.validation.storeapi import SealAnswer, SealTask

PUBLISHER: Final = web.AppKey("publisher", Publisher)


async def next_task(request: web.Request) -> web.Response:
    """Return the next bundle to sign, or 204."""
    await require(request, SEALER)
    run = service_of(request).next_to_sign()
    if run is None or run.facts is None:
        return web.Response(status=204)
    manifest = await asyncio.to_thread((run.folder.bundle / "manifest").read_bytes)
    task = SealTask(
        run_uid=run.card.uid,
        manifest_digest=run.facts.view.manifest_digest,
        oci_manifest=base64.b64encode(manifest).decode(),
        signing_mode=run.card.signing_mode,
    )
    return answer(task)


async def get_layer(request: web.Request) -> web.StreamResponse:
    """Return the layer of a bundle to sign."""
    await require(request, SEALER)
    run = service_of(request).to_sign(request.match_info["digest"])
    return await send_file(request, run.folder.bundle / "layer", "application/gzip")


async def put_answer(request: web.Request) -> web.Response:
    """Take the attestation, or the reason why there is none."""
    await require(request, SEALER)
    service = service_of(request)
    run = service.to_sign(request.match_info["digest"])
    given = await json_body(request, SealAnswer, what="the sealer's answer")
    await service.answer(run, given)
    return json_answer(b"{}", status=200)


async def put_key(request: web.Request) -> web.Response:
    """Publish the sealer's public key; earlier ones stay."""
    await require(request, SEALER)
    service = service_of(request)
    async with request.app[BODIES].body(request, what="the public key", limit=limits.STORE_KEY_MAX) as pem:
        new = await asyncio.to_thread(service.keys.add, pem)
    if new:
        events_log.note("key.changed")
        request.app[PUBLISHER].changed()
    return json_answer(b"{}", status=201 if new else 200)


ROUTES: Final = [
    web.get("/v1/seal", next_task),
    web.get("/v1/seal/{digest}/layer", get_layer),
    web.put("/v1/seal/{digest}", put_answer),
    web.put("/v1/keys", put_key),
]
