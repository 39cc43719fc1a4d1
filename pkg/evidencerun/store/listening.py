# SPDX-License-Identifier: Apache-2.0
"""Bounds on connections that the HTTP library does not set: their number, and the time until the first request.

They are counted from the moment they are accepted: a TLS connection takes a quarter of a megabyte before it has said
anything. When there are too many, the oldest that has not sent a request yet makes room.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from evidencerun import limits
from evidencerun.store import events_log

_BACKLOG: Final = 1024
_PAUSE_SECONDS: Final = 1.0
"""After a connection could not be accepted, for lack of file descriptors mostly."""


@dataclass(slots=True, eq=False)
class _Newcomer:
    """A connection that has not sent a whole request head yet."""

    timer: asyncio.TimerHandle
    handshake: asyncio.Task[None]


_SILENT: Final[dict[web.RequestHandler, _Newcomer]] = {}
"""Newcomers, oldest first; each stays here for `STORE_HEAD_SECONDS` at most."""


class Listener:
    """Accepts TLS connections for a server."""

    def __init__(self, server: web.Server, context: ssl.SSLContext) -> None:
        self._server = server
        self._context = context
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    def start(self, host: str, port: int) -> int:
        """Listen, on all addresses if no host is given; return the port."""
        both = not host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._socket))
        return int(self._socket.getsockname()[1])

    async def close(self) -> None:
        """Accept nothing more, and let go of who has said nothing yet."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
        if self._socket is not None:
            self._socket.close()
        for protocol in list(_SILENT):
            _drop(protocol)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as fault:
                events_log.warn("connection.refused", why=fault.strerror or str(fault))
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if self._has_room():
                protocol = self._server()
                handshake = asyncio.create_task(self._shake_hands(connection, protocol))
                timer = loop.call_later(limits.STORE_HEAD_SECONDS, _drop, protocol)
                _SILENT[protocol] = _Newcomer(timer=timer, handshake=handshake)
            else:
                connection.close()

    def _has_room(self) -> bool:
        """Return whether one more connection may be held; a silent one goes for it if there is one."""
        held = len(self._server.connections) + sum(map(_shakes_hands, _SILENT.values()))
        while held >= limits.STORE_CONNECTIONS_MAX and _SILENT:
            protocol, oldest = next(iter(_SILENT.items()))
            held -= _shakes_hands(oldest) or protocol.transport is not None
            _drop(protocol)
        return held < limits.STORE_CONNECTIONS_MAX

    async def _shake_hands(self, connection: socket.socket, protocol: web.RequestHandler) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._context, ssl_handshake_timeout=limits.STORE_HEAD_SECONDS
            )
        except OSError:
            # No TLS, no certificate that it likes, or nothing at all: nobody to answer.
            _forget(protocol)
            connection.close()


def _shakes_hands(newcomer: _Newcomer) -> bool:
    return not newcomer.handshake.done()


def heard(request: web.BaseRequest) -> None:
    """Say that a connection has sent a whole request head; idle time after it is the library's to bound."""
    _forget(request.protocol)


def _forget(protocol: web.RequestHandler) -> None:
    newcomer = _SILENT.pop(protocol, None)
    if newcomer is not None:
        newcomer.timer.cancel()


def _drop(protocol: web.RequestHandler) -> None:
    newcomer = _SILENT.pop(protocol, None)
    if newcomer is not None:
        newcomer.timer.cancel()
        newcomer.handshake.cancel()
    if protocol.transport is not None:
        protocol.transport.abort()
