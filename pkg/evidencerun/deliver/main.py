# SPDX-License-Identifier: Apache-2.0
"""The deliver Job: `python3 -m evidencerun.deliver.main`.

Both targets are tried; one that fails does not stop the other. It runs in the tenant's namespace, with the tenant's
Secret and claim and without any API token. Doing it twice does no harm.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

from evidencerun.deliver.ocipush import deliver_to_registry
from evidencerun.deliver.outcome import Delivered, Outcome, Undelivered
from evidencerun.deliver.pvc import deliver_to_pvc
from evidencerun.deliver.settings import DeliverSettings, OciTarget, PvcTarget, deliver_settings
from evidencerun.deliver.storeparts import StoreParts
from evidencerun.errors import Error, WorldError
from evidencerun.storeclient import Clock, Endpoint, StepLog, StoreClient

_TERMINATION_LOG: Final = "/dev/termination-log"


def main() -> int:
    """Deliver, tell in the termination message, and return 0 only if all was delivered."""
    # The first process of a container has no default action for signals: it would ignore SIGTERM.
    signal.signal(signal.SIGTERM, _stopped)
    log = StepLog("deliver")
    outcome = run(os.environ, clock=Clock(), log=log)
    target = Path(os.environ.get("EVIDENCERUN_TERMINATION_LOG", _TERMINATION_LOG))
    try:
        target.write_bytes(outcome.message())
    except OSError as fault:
        log("no-termination-message", error=str(fault))
    log("ended", delivered=len(outcome.delivered), failed=len(outcome.errors))
    return outcome.exit_code


def run(environ: Mapping[str, str], *, clock: Clock, log: StepLog) -> Outcome:
    """Return what became of each target. Raises nothing that is foreseen."""
    try:
        settings = deliver_settings(environ)
        endpoint = Endpoint(url=settings.store_url, ca_pem=settings.store_ca)
        parts = StoreParts(StoreClient(endpoint), settings.archive_digest, settings.scratch, clock=clock, log=log)
    except Error as fault:
        log("failed", kind="settings", error=fault.diagnostics())
        return Outcome(errors=(Undelivered(kind="settings", fault=fault),))
    delivered: list[Delivered] = []
    errors: list[Undelivered] = []
    for kind, deliver in _targets(settings, parts, log):
        try:
            ref = deliver()
        except (Error, OSError) as raised:
            cause = raised if isinstance(raised, Error) else _disk_fault(raised)
            log("failed", kind=kind, error=cause.diagnostics())
            errors.append(Undelivered(kind=kind, fault=cause))
            continue
        log("delivered", kind=kind, ref=ref)
        delivered.append(Delivered(kind=kind, ref=ref))
    return Outcome(delivered=tuple(delivered), errors=tuple(errors))


def _stopped(number: int, frame: object) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


def _disk_fault(fault: OSError) -> Error:
    return WorldError("E7311", "a file of the scratch folder cannot be used", why=str(fault))


def _targets(settings: DeliverSettings, parts: StoreParts, log: StepLog) -> list[tuple[str, Callable[[], str]]]:
    found: list[tuple[str, Callable[[], str]]] = []
    if settings.pvc is not None:
        found.append(("pvc", _to_pvc(settings, settings.pvc, parts)))
    if settings.oci is not None:
        found.append(("oci", _to_oci(settings, settings.oci, parts, log)))
    return found


def _to_pvc(settings: DeliverSettings, target: PvcTarget, parts: StoreParts) -> Callable[[], str]:
    def deliver() -> str:
        archive = parts.archive()
        logs = parts.logs(settings.logs_key, settings.logs_digest) if settings.logs_key else None
        return deliver_to_pvc(target, settings.run_name, archive, logs)

    return deliver


def _to_oci(settings: DeliverSettings, target: OciTarget, parts: StoreParts, log: StepLog) -> Callable[[], str]:
    return lambda: deliver_to_registry(settings, target, parts, log)


if __name__ == "__main__":
    sys.exit(main())
