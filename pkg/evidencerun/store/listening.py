# SPDX-License-Identifier: Apache-2.0
"""Bounds on connections that the HTTP library does not set: their number, and the time until the first request."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from aiohttp import web

from evidencerun import limits

_SILENT: Final[dict[web.RequestHandler, asyncio.TimerHandle]] = {}
"""Connections that have not sent a whole request head yet; each stays here for `STORE_HEAD_SECONDS` at most."""


class _Refused(asyncio.Protocol):
    """A connection beyond the limit: closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


class Gatekeeper:
    """A protocol factory around the server's own."""

    def __init__(self, server: web.Server) -> None:
        self._server = server

    def __call__(self) -> asyncio.BaseProtocol:
        """Return the protocol for a new connection."""
        if len(self._server.connections) >= limits.STORE_CONNECTIONS_MAX:
            return _Refused()
        protocol = self._server()
        loop = asyncio.get_running_loop()
        _SILENT[protocol] = loop.call_later(limits.STORE_HEAD_SECONDS, _drop, protocol)
        return protocol


def heard(request: web.BaseRequest) -> None:
    """Say that a connection has sent a whole request head; idle time after it is the library's to bound."""
    timer = _SILENT.pop(request.protocol, None)
    if timer is not None:
        timer.cancel()


def _drop(protocol: web.RequestHandler) -> None:
    _SILENT.pop(protocol, None)
    if protocol.transport is not None:
        protocol.transport.abort()
