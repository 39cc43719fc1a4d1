# SPDX-License-Identifier: Apache-2.0
"""The store as an HTTPS server: routes, bounds on connections, and the work in the background."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Final

from aiohttp import web

from evidencerun import limits
from evidencerun.store import api_checks, api_nodes, api_public, api_runs, api_seal, disk, events_log
from evidencerun.store.api_seal import PUBLISHER
from evidencerun.store.bodies import BodyGate
from evidencerun.store.listening import Listener
from evidencerun.store.public_keys import Publisher
from evidencerun.store.requests import BODIES, LARGE_BODIES, SERVICE, errors_as_status
from evidencerun.store.service import StoreService
from evidencerun.store.tls import ServingIdentity

_JANITOR_SECONDS: Final = 3600
_DRAIN_SECONDS: Final = 20


def make_app(service: StoreService, publisher: Publisher) -> web.Application:
    """Return the application with all routes."""
    app = web.Application(middlewares=[errors_as_status])
    app[SERVICE] = service
    app[PUBLISHER] = publisher
    app[BODIES] = BodyGate(limits.STORE_BODIES_MAX)
    app[LARGE_BODIES] = BodyGate(limits.STORE_LARGE_BODIES_MAX)
    for part in (api_runs, api_nodes, api_checks, api_seal, api_public):
        app.add_routes(part.ROUTES)
    return app


class StoreServer:
    """A store that listens. `port` is the real one once it does."""

    def __init__(self, service: StoreService, *, clock: Callable[[], datetime]) -> None:
        settings = service.settings
        self._service = service
        self._clock = clock
        self._identity = ServingIdentity(settings.data / "tls", settings.host_names)
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.port = 0

    async def start(self) -> None:
        """Prepare the volume, listen, and begin the work in the background."""
        settings = self._service.settings
        await asyncio.to_thread(disk.make_folder, settings.data)
        await asyncio.to_thread(disk.sweep, settings.data / "tls")
        await asyncio.to_thread(self._identity.ensure, self._clock())
        await self._service.start()
        publisher = Publisher(
            self._service.cluster,
            namespace=settings.system_namespace,
            name=settings.public_config_map,
            keys=self._service.keys,
            ca_pem=self._identity.ca_pem,
        )
        context = self._identity.context()
        await self._listen(make_app(self._service, publisher), context)
        self._tasks = [asyncio.create_task(publisher.run()), asyncio.create_task(self._janitor(context))]
        events_log.note("store.ready", port=self.port, persistent=settings.persistent, data=str(settings.data))

    async def _listen(self, app: web.Application, context: ssl.SSLContext) -> None:
        # Bodies are inflated by the handlers, within bounds; the server itself must not.
        self._runner = web.AppRunner(
            app, access_log=None, auto_decompress=False, keepalive_timeout=75, lingering_time=2
        )
        await self._runner.setup()
        server, settings = self._runner.server, self._service.settings
        assert server is not None
        self._listener = Listener(server, context)
        self.port = self._listener.start(settings.host, settings.port)

    async def _janitor(self, context: ssl.SSLContext) -> None:
        """Remove what is over and renew the certificate, now and then."""
        while True:
            await asyncio.sleep(_JANITOR_SECONDS)
            try:
                await self._service.retire()
                if await asyncio.to_thread(self._identity.ensure, self._clock()):
                    self._identity.reload(context)
                    events_log.note("tls.renewed")
            except Exception as fault:  # the janitor must outlive a bad hour
                events_log.failed("janitor.failed", fault)

    async def stop(self) -> None:
        """Take no new requests, finish those in progress, stop the work in the background."""
        if self._listener is not None:
            await self._listener.close()
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._service.stop()
        events_log.note("store.stopped")
