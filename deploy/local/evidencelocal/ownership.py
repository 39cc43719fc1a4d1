# SPDX-License-Identifier: Apache-2.0
"""Whose cluster it is: a running cluster belongs to the checkout that brought it up, and others leave it alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evidencelocal import processes
from evidencelocal.settings import LOCAL, MAX_INSTANCE, ClusterError, Settings
from evidencelocal.shell import write

TAKE_OVER = "EVIDENCERUN_TAKE_OVER"
"""Set to `true` it allows what --take-over allows, for make targets, which take no options."""


class ForeignClusterError(ClusterError):
    """The cluster that a command would change is another checkout's."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A running cluster: the checkout that brought it up, its state directory and its instance number."""

    checkout: Path
    state: Path
    instance: int


def checkout() -> Path:
    """The root of the checkout that this program is part of."""
    return LOCAL.parent.parent


def _record(state: Path) -> Path:
    return state / "owner.json"


def claim(settings: Settings) -> None:
    """Write down that the cluster in this state directory is this checkout's."""
    text = json.dumps({"checkout": str(checkout()), "instance": settings.instance})
    write(_record(settings.state), text + "\n")


def running() -> Iterator[Owned]:
    """Every cluster that runs on this machine and says whose it is; one of a checkout that is gone is nobody's."""
    for state in processes.marked_states():
        try:
            found = json.loads(_record(state).read_text(encoding="utf-8"))
            owned = Owned(checkout=Path(found["checkout"]), state=state, instance=int(found["instance"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if owned.checkout.is_dir():
            yield owned


def in_the_way(settings: Settings) -> Owned | None:
    """The running cluster that has our state directory or our addresses, and is not ours; None if there is none."""
    for owned in running():
        same_place = owned.state == settings.state
        if same_place and owned.checkout != checkout():
            return owned
        if not same_place and owned.instance == settings.instance:
            return owned
    return None


def _free_instance(settings: Settings) -> int | None:
    """The lowest number, above 0, of which no bridge exists."""
    numbered = (replace(settings, instance=number) for number in range(1, MAX_INSTANCE + 1))
    return next((each.instance for each in numbered if not Path("/sys/class/net", each.bridge).exists()), None)


def describe(owned: Owned, settings: Settings) -> str:
    """Whose cluster it is, and how to get one's own."""
    other = f"EVIDENCERUN_STATE={owned.state} EVIDENCERUN_INSTANCE={owned.instance} "
    other += f"{owned.checkout / 'deploy/local/cluster'} down"
    free = _free_instance(settings)
    own = f"  fix: export EVIDENCERUN_INSTANCE={free}   (a cluster of your own beside it)\n" if free else ""
    return (
        f"the running cluster with instance number {owned.instance} belongs to another checkout\n"
        f"  found: {owned.checkout}, with its state in {owned.state}\n"
        f"  expected: {checkout()}\n"
        f"{own}"
        f"  or: {other}   (ends it)"
    )


def allowed_by_environment() -> bool:
    """Whether the environment says that clusters of other checkouts may be changed."""
    return os.environ.get(TAKE_OVER, "") == "true"


def require(settings: Settings, *, take_over: bool) -> None:
    """Return if the cluster is ours, or nobody's, or may be taken over; `ForeignClusterError` otherwise.

    A cluster with our addresses and another state directory cannot be taken over: it would be half ended at best.
    """
    owned = in_the_way(settings)
    if owned is None:
        return
    if owned.state != settings.state:
        raise ForeignClusterError(describe(owned, settings))
    if not (take_over or allowed_by_environment()):
        nevertheless = f"  or: --take-over, or {TAKE_OVER}=true   (does it nevertheless)"
        raise ForeignClusterError(f"{describe(owned, settings)}\n{nevertheless}")
