# SPDX-License-Identifier: Apache-2.0
"""Reads request bodies within bounds of size, time, depth and number, before anything else looks at them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from evidencerun import limits
from evidencerun.canonical import parse_json
from evidencerun.store.refusals import RefusalError, busy, too_large

M = TypeVar("M", bound=BaseModel)


class BodyGate:
    """Bounds how many bodies are in memory at once; who waits too long is asked to come back."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)

    @asynccontextmanager
    async def body(self, request: web.Request, *, what: str, limit: int) -> AsyncGenerator[bytes, None]:
        """Read a body of at most `limit` bytes and hold its place until the block ends.

        Raises `RefusalError` 413 (too large), 408 (too slow), 503 (no place).
        """
        try:
            async with asyncio.timeout(limits.STORE_QUEUE_SECONDS):
                await self._places.acquire()
        except TimeoutError as fault:
            raise busy("too many bodies are being received") from fault
        try:
            yield await _read(request, what, limit)
        finally:
            self._places.release()


async def _read(request: web.Request, what: str, limit: int) -> bytes:
    if request.content_length is not None and request.content_length > limit:
        raise too_large(what, limit)
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.STORE_BODY_SECONDS):
            async for piece in request.content.iter_chunked(64 * limits.KIB):
                size += len(piece)
                if size > limit:
                    raise too_large(what, limit)
                pieces.append(piece)
    except TimeoutError as fault:
        why = f"not complete within {limits.STORE_BODY_SECONDS} s"
        raise RefusalError(408, "E4508", f"{what} came too slowly", why=why) from fault
    return b"".join(pieces)


def inflate(data: bytes, *, what: str, limit: int) -> bytes:
    """Return the content of one gzip member; raises `RefusalError` 400 or, above `limit` bytes, 413."""
    machine = zlib.decompressobj(wbits=31)
    try:
        content = machine.decompress(data, limit + 1)
    except zlib.error as fault:
        raise RefusalError(400, "E4502", f"{what} is not gzip", why=str(fault)) from fault
    if len(content) > limit:
        raise too_large(f"{what}, inflated,", limit)
    if not machine.eof or machine.unused_data:
        why = "bytes after the end" if machine.eof else "it ends too early"
        raise RefusalError(400, "E4502", f"{what} is not one whole gzip member", why=why)
    return content


def parse_model(model: type[M], data: bytes, *, what: str, limit: int, values: int = limits.JSON_VALUES_MAX) -> M:
    """Return `data` as a model; raises `RefusalError` 422 naming each faulty field, or the reader's `InputError`."""
    document = parse_json(data, what=what, max_bytes=limit, max_depth=limits.REPORT_JSON_DEPTH, max_values=values)
    try:
        return model.model_validate(document)
    except ValidationError as fault:
        causes = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in fault.errors(include_input=False)[:20]]
        raise RefusalError(422, "E4505", f"{what} has not the expected shape", causes=causes) from fault
