# SPDX-License-Identifier: Apache-2.0
"""`python3 -m evidencerun.store.main`: the evidence store."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import UTC, datetime

from evidencerun.errors import Error
from evidencerun.kube.aio import connect
from evidencerun.store import events_log
from evidencerun.store.app import StoreServer
from evidencerun.store.service import StoreService
from evidencerun.store.settings import Settings


def _clock() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    cluster = await connect(kubeconfig=settings.kubeconfig)
    try:
        server = StoreServer(StoreService(settings, cluster, clock=_clock, ticks=time.monotonic), clock=_clock)
        await server.start()
        await ended.wait()
        await server.stop()
    finally:
        await cluster.close()


def main() -> int:
    """Run the store; return the exit code."""
    os.umask(0o077)
    events_log.configure()
    try:
        asyncio.run(serve(Settings.from_environment(os.environ)))
    except Error as fault:
        print(fault.diagnostics(), file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
