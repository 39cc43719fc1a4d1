# SPDX-License-Identifier: Apache-2.0
"""`python3 -m evidencerun.sealer.main`: the sealer. It opens no port and holds no token of the Kubernetes API."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from types import FrameType

from evidencerun.errors import Error
from evidencerun.sealer.loop import Sealer
from evidencerun.sealer.settings import Settings
from evidencerun.sealer.store_client import StoreClient


def _note(event: str, **fields: object) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    given = {name: value for name, value in fields.items() if value != ""}
    print(json.dumps({"time": stamp, "event": event, **given}, default=str), flush=True)  # noqa: T201


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    os.umask(0o077)
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    settings = Settings.from_environment(os.environ)
    store = StoreClient(settings)
    sealer = Sealer(settings, store, _note)
    _note("sealer.started", store=settings.store_url, secret=settings.secret_name)
    try:
        while not ended.is_set():
            ended.wait(sealer.step())
    except Error as fault:
        print(fault.diagnostics(), file=sys.stderr)  # noqa: T201
        return 1
    finally:
        store.close()
    _note("sealer.stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
