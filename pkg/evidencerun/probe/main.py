# SPDX-License-Identifier: Apache-2.0
"""The probe: `python3 -m evidencerun.probe.main`. Reads the node once, uploads, and stays until it is stopped.

It never ends by itself and never crashes in a loop: whatever goes wrong is in the report or in its log.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from evidencerun import __version__, limits
from evidencerun.errors import Error
from evidencerun.probe.collect import collect
from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reportbytes import ReportHead, fitted, make_report
from evidencerun.probe.settings import ProbeSettings, probe_settings
from evidencerun.probe.sources import sources
from evidencerun.probe.upload import AFTERTIME_SECONDS, Upload, Uploader, sleep_for_ever, splay_seconds
from evidencerun.storeclient import Clock, Endpoint, StepLog, StoreClient, utc_text


def main() -> NoReturn:
    """Run until SIGTERM, then end at once with exit code 0."""
    signal.signal(signal.SIGTERM, _stop)
    clock = Clock()
    log = StepLog("probe")
    acked = Path(os.environ.get("EVIDENCERUN_ACKED_FILE", "/tmp/acked"))  # noqa: S108 - the pod's own emptyDir
    try:
        settings = probe_settings(os.environ)
        # A container that was started again brings its report again: the store compares, nobody trusts an old mark.
        acked.unlink(missing_ok=True)
        upload = prepare(settings, HostTree(Path(os.environ.get("EVIDENCERUN_ROOT", "/"))), os.environ, log)
        clock.sleep(splay_seconds(settings.node_name, settings.nodes))
        uploader(settings, upload, acked=acked, clock=clock, log=log).stay()
        log("time-over")
    except Error as fault:
        log("stopped", error=fault.diagnostics())
    except Exception as fault:
        log("stopped", error=f"{type(fault).__name__}: {fault}"[:2000])
    sleep_for_ever(clock)
    sys.exit(0)


def prepare(settings: ProbeSettings, tree: HostTree, environ: Mapping[str, str], log: StepLog) -> Upload:
    """Read the node and return the report, ready for upload."""
    started_at = utc_text()
    found = collect(
        sources(
            tree,
            machine=platform.machine(),
            environ=environ,
            vendor=settings.access != "pciOnly",
            nvml_seconds=limits.NVML_SECONDS,
        ),
        time.monotonic,
    )
    for item in found:
        log(
            "source",
            name=item.result.name,
            state=item.result.state,
            reason=item.result.reason,
            milliseconds=item.result.milliseconds,
        )
    head = ReportHead(
        run_uid=settings.run_uid,
        node_name=settings.node_name,
        version=__version__,
        access=settings.access,
        started_at=started_at,
        finished_at=utc_text(),
    )
    plain, packed = fitted(make_report(head, found))
    log("report", bytes=len(plain), gzip=len(packed))
    return Upload(path=f"/v1/runs/{settings.run_uid}/nodes/self", plain=plain, packed=packed)


def uploader(settings: ProbeSettings, upload: Upload, *, acked: Path, clock: Clock, log: StepLog) -> Uploader:
    """Return the uploader of this run, which ends its work ten minutes after the deadline."""
    endpoint = Endpoint(url=settings.store_url, ca_pem=settings.store_ca, token_file=settings.token_file)
    left = (settings.deadline - datetime.now(tz=UTC)).total_seconds()
    until = clock.monotonic() + max(0.0, left) + AFTERTIME_SECONDS
    return Uploader(StoreClient(endpoint), upload, acked=acked, clock=clock, log=log, until=until)


def _stop(number: int, frame: object) -> NoReturn:
    del number, frame
    raise SystemExit(0)


if __name__ == "__main__":
    main()
