# SPDX-License-Identifier: Apache-2.0
"""Reading EvidenceRuns for people: a wrong name is told the right ones, a cluster without our kinds how to get them."""

from __future__ import annotations

from typing import Any, Final, Protocol

from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.sync import run_path

INSTALL: Final = "helm install evidencerun charts/evidencerun -n evidencerun-system --create-namespace"
LISTED: Final = 500
"""Runs that a list holds at most."""
_NAMES_SHOWN: Final = 10


class Reads(Protocol):
    """What is needed of a cluster."""

    def get(self, path: str) -> dict[str, Any]:
        """GET a JSON object; raises `ClusterError`."""


def read_run(cluster: Reads, namespace: str, name: str) -> dict[str, Any]:
    """Return one run.

    Raises `InputError` E1409 if there is none of this name, `ClusterError` if the cluster does not know our kinds or
    does not answer.
    """
    try:
        return cluster.get(run_path(namespace, name))
    except ClusterError as error:
        if error.status != 404:
            raise
    names = [str(run["metadata"]["name"]) for run in list_runs(cluster, namespace)]
    rest = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
    raise InputError(
        "E1409",
        f"namespace {namespace} has no EvidenceRun {name}",
        why=f"it has: {shown}" if names else "it has none at all",
        fix="evr status -n NAMESPACE, or evr status -A for all namespaces",
    )


def is_complete(run: dict[str, Any]) -> bool:
    """Return whether nothing more will happen to the run."""
    conditions = (run.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Complete" and one.get("status") == "True" for one in conditions)


def list_runs(cluster: Reads, namespace: str) -> list[dict[str, Any]]:
    """Return up to `LISTED` runs of a namespace, or of all if it is empty.

    Raises `ClusterError` if the cluster does not know our kinds.
    """
    try:
        found = cluster.get(f"{run_path(namespace)}?limit={LISTED}")
    except ClusterError as error:
        if error.status != 404:
            raise
        raise ClusterError(
            error.code, "the cluster does not know EvidenceRun", why=error.why, fix=INSTALL, retryable=False
        ) from error
    items: list[dict[str, Any]] = found.get("items") or []
    return items
