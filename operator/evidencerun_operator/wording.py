# SPDX-License-Identifier: Apache-2.0
"""Sentences and literal commands in status; pure. Counts come first, because the column is narrow."""

from __future__ import annotations

import re
from typing import Final

from evidencerun.validation.storeapi import BundleView
from evidencerun_operator.naming import RunRef
from evidencerun_operator.status import RunStatus
from evidencerun_operator.world import Places

_NOT_IN_A_REMARK: Final = re.compile(r"[^A-Za-z0-9 .,:/_-]+")
"""What a remark may not hold: some shells know no comments at the prompt, and nothing in it may become a command."""
_REMARK_MAX: Final = 1024
"""Half of what a command in status may hold; the commands before it are shorter than the other half."""


def summary(status: RunStatus, note: str) -> str:
    """Return such as `2/3 nodes, 1/2 checks; oom: other(oom-killed); node-agreement: ImagePullBackOff: …`."""
    counts = []
    if status.nodes is not None:
        counts.append(f"{status.nodes.reported}/{status.nodes.targeted} nodes")
    if status.checks is not None:
        done = status.checks.passed + status.checks.failed + status.checks.skipped + status.checks.other
        # At sealing a check that never ran is recorded as `other`; it must not read as one that was done.
        done = min(done, status.checks.executed)
        counts.append(f"{done}/{status.checks.declared} checks")
    sample = status.checks.sample if status.checks is not None else ()
    outcomes = ", ".join(f"{check.name}: {check.outcome}" for check in sample)
    return "; ".join(part for part in (", ".join(counts), outcomes, note) if part)


def wait_command(run: RunRef) -> str:
    """Return the command that ends when the run does."""
    return f"kubectl wait -n {run.namespace} evr/{run.name} --for=condition=Complete --timeout=2h"


def again_command(run: RunRef, *, mend: str, fetch: str = "") -> str:
    """Return the command that makes room for the run to be applied again; `mend` is what has to be done before that.

    With `fetch` the bundle is fetched by the same command, and nothing is deleted if that fails.
    """
    delete = f"kubectl delete -n {run.namespace} evr/{run.name}"
    return remarked(f"{fetch} && {delete}" if fetch else delete, f"{mend}, then apply it again: a run is immutable")


def remarked(command: str, words: str) -> str:
    """Return the command with words behind a `#`, in which nothing can become a command."""
    safe = _NOT_IN_A_REMARK.sub(" ", words)
    return f"{command}   # {safe if len(safe) <= _REMARK_MAX else safe[: _REMARK_MAX - 3] + '...'}"


def after_command(run: RunRef, fix: str) -> str:
    """Return a command that mends what a finished run could not go on without, and then makes room for it."""
    if fix.startswith("kubectl delete "):
        return fix
    return f"{fix} && kubectl delete -n {run.namespace} evr/{run.name}   # then apply it again: a run is immutable"


def _proxy(places: Places) -> str:
    return f"/api/v1/namespaces/{places.system}/services/https:evidence-store:443/proxy/v1"


def fetch_command(places: Places, bundle: BundleView) -> str:
    """Return the command that writes the bundle into bundle.tar.gz; empty while there is none."""
    if not bundle.archive_digest:
        return ""
    return f"kubectl get --raw {_proxy(places)}/bundles/{bundle.archive_digest} > bundle.tar.gz"


def fetch_logs_command(places: Places, bundle: BundleView) -> str:
    """Return the command that writes the logs' archive; the key in it is the permission to read them."""
    if not bundle.logs_key:
        return ""
    return f"kubectl get --raw {_proxy(places)}/logs/{bundle.logs_key} > evidence-logs.tar.gz"


def key_command(places: Places) -> str:
    """Return the command that writes the public key into evidence.pub."""
    return (
        f"kubectl get -n {places.system} configmap evidence-public -o 'jsonpath={{.data.signing\\.pub}}' > evidence.pub"
    )
