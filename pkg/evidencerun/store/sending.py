# SPDX-License-Identifier: Apache-2.0
"""Sends a file whole: fixed length, no ranges and no Content-Encoding, so that `kubectl get --raw` writes its bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from aiohttp import web

from evidencerun import limits
from evidencerun.store.refusals import not_found
from evidencerun.store.requests import parting

_PIECE: Final = 256 * limits.KIB


async def send_file(request: web.Request, path: Path, content_type: str) -> web.StreamResponse:
    """Stream a file; raises `RefusalError` 404 if it is not there. A reader that stands still loses its connection."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError as fault:
        raise not_found("this") from fault
    try:
        size = await asyncio.to_thread(lambda: path.stat().st_size)
        response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "private, immutable"})
        response.content_length = size
        await parting(request, response).prepare(request)
        while piece := await asyncio.to_thread(file.read, _PIECE):
            async with asyncio.timeout(limits.STORE_SEND_SECONDS):
                await response.write(piece)
        await response.write_eof()
        return response
    except TimeoutError as fault:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError("the reader takes nothing") from fault
    finally:
        await asyncio.to_thread(file.close)
