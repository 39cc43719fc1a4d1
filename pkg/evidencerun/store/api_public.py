# SPDX-License-Identifier: Apache-2.0
"""What anybody may fetch: bundles by digest, logs by a random key. There is no listing."""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

from evidencerun.store.refusals import not_found
from evidencerun.store.requests import json_answer, service_of
from evidencerun.store.runs import Published, published_path
from evidencerun.store.sending import send_file

_GZIP: Final = "application/gzip"
_PARTS: Final = {
    "manifest": (Published.MANIFEST, "application/vnd.oci.image.manifest.v1+json"),
    "config": (Published.CONFIG, "application/vnd.oci.empty.v1+json"),
    "layer": (Published.LAYER, _GZIP),
    "attestation": (Published.ATTESTATION, "application/vnd.dev.sigstore.bundle.v0.3+json"),
}


async def get_bundle(request: web.Request) -> web.StreamResponse:
    """Return a bundle as tar.gz."""
    run = service_of(request).runs.by_digest(request.match_info["digest"])
    if run is None:
        raise not_found("this bundle")
    signed = run.final is not None and run.final.archive_digest == request.match_info["digest"]
    return await send_file(request, published_path(run, Published.ARCHIVE if signed else Published.LAYER), _GZIP)


async def get_part(request: web.Request) -> web.StreamResponse:
    """Return a part of a bundle as it is pushed to a registry."""
    run = service_of(request).runs.by_digest(request.match_info["digest"])
    part = _PARTS.get(request.match_info["part"])
    if run is None or part is None:
        raise not_found("this bundle")
    return await send_file(request, published_path(run, part[0]), part[1])


async def get_logs(request: web.Request) -> web.StreamResponse:
    """Return the archive of logs."""
    run = service_of(request).runs.by_log_key(request.match_info["key"])
    if run is None:
        raise not_found("this archive of logs")
    return await send_file(request, published_path(run, Published.LOGS), _GZIP)


async def health(request: web.Request) -> web.Response:
    """Say that the store answers, and whether what it holds outlives its pod."""
    persistent = service_of(request).settings.persistent
    return json_answer(json.dumps({"status": "ok", "persistent": persistent}).encode() + b"\n")


ROUTES: Final = [
    web.get("/v1/bundles/{digest}", get_bundle),
    web.get("/v1/bundles/{digest}/oci/{part}", get_part),
    web.get("/v1/logs/{key}", get_logs),
    web.get("/healthz", health),
]
