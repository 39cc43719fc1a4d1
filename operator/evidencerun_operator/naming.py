# SPDX-License-Identifier: Apache-2.0
"""Names and labels of a run's objects: functions of the run alone, so that a repeat makes nothing new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "evidencerun.dev/"
RUN_UID: Final = f"{PREFIX}run-uid"
COMPONENT: Final = f"{PREFIX}component"
POOL: Final = f"{PREFIX}pool"
CHECK: Final = f"{PREFIX}check"
ATTEMPT: Final = f"{PREFIX}attempt"
SPEC_HASH: Final = f"{PREFIX}spec-hash"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "evidencerun"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef:
    """Which run an object belongs to."""

    uid: str
    namespace: str
    name: str


def _stem(uid: str) -> str:
    return f"ev-{uid[:8]}"


def prefix(uid: str) -> str:
    """Return how the names of all of a run's objects begin."""
    return f"{_stem(uid)}-"


def anchor_name(uid: str) -> str:
    """Return the name of the ConfigMap that owns the run's objects in a namespace."""
    return f"{_stem(uid)}-anchor"


def daemon_set_name(uid: str, pool: str) -> str:
    """Return the name of a pool's DaemonSet."""
    return f"{_stem(uid)}-probe-{pool}"


def job_name(uid: str, check: str, attempt: int) -> str:
    """Return the name of an attempt's Job; the store demands exactly this one."""
    return f"{_stem(uid)}-{check}-{attempt}"


def deliver_name(uid: str) -> str:
    """Return the name of the deliver Job."""
    return f"{_stem(uid)}-deliver"


def labels(run: RunRef, component: str, **more: str) -> dict[str, str]:
    """Return the labels of an object and of its pods; `more` gives pool, check, attempt."""
    return {
        MANAGED_BY: MANAGER,
        RUN_UID: run.uid,
        f"{PREFIX}run-namespace": run.namespace,
        f"{PREFIX}run-name": run.name,
        COMPONENT: component,
        **{PREFIX + key: value for key, value in more.items()},
    }


def selector(uid: str, component: str = "") -> str:
    """Return the label selector for the objects of a run."""
    chosen = f"{RUN_UID}={uid}"
    return f"{chosen},{COMPONENT}={component}" if component else chosen
