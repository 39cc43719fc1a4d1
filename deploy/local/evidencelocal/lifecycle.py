# SPDX-License-Identifier: Apache-2.0
"""Bring the whole cluster up, tell how it is, and take it down without a trace."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from evidencelocal import (
    addons,
    api,
    control_plane,
    hostnet,
    images,
    machine_limits,
    node,
    ownership,
    pki,
    preflight,
    processes,
    registries,
    tools,
)
from evidencelocal.settings import LOCAL, MAX_NODES, ClusterError, Settings
from evidencelocal.shell import say, wait_for, write

LAYOUT = 2
"""Raised when a running cluster made by an older version of this program must be built anew."""

PROGRAMS = ("kube", "coredns", "pause")
_KEEPER = "volume-keeper"


def _identity(programs: Path) -> dict[str, str | int]:
    return {"boot": hostnet.boot_id(), "programs": str(programs), "layout": LAYOUT}


def _identity_file(settings: Settings) -> Path:
    return settings.state / "cluster.json"


def _matches(settings: Settings, programs: Path) -> bool:
    """Whether what stands in the state directory is a cluster of this boot, these programs and this layout."""
    try:
        found = json.loads(_identity_file(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == _identity(programs)) and pki.valid(settings)


def _prepare(settings: Settings, programs: Path) -> None:
    if settings.state.is_dir() and not _matches(settings, programs):
        say("what is left of an earlier cluster does not fit: building anew")
        down(settings)
    settings.state.mkdir(parents=True, exist_ok=True)
    settings.state.chmod(0o711)
    ownership.claim(settings)
    hostnet.remember(settings)
    write(_identity_file(settings), json.dumps(_identity(programs)))


def _remove_surplus(settings: Settings, nodes: int) -> bool:
    surplus = [number for number in node.existing(settings) if number > nodes]
    for number in surplus:
        node.remove(settings, number)
        shutil.rmtree(settings.node_dir(number))
        api.call(settings, "DELETE", f"/api/v1/nodes/{settings.node_name(number)}")
        say(f"{settings.node_name(number)}: removed")
    return bool(surplus)


def _start_nodes(settings: Settings, programs: Path, nodes: int) -> int:
    pause = images.pause_folder()
    return sum(node.start(settings, number, programs, pause) for number in range(1, nodes + 1))


def _await_nodes(settings: Settings, nodes: int) -> None:
    def ready() -> bool:
        conditions = api.node_conditions(settings)
        return len(conditions) == nodes and all(conditions.values())

    logs = [path for number in range(1, nodes + 1) for path in node.log_files(settings, number)]
    wait_for(f"{nodes} nodes are Ready", ready, timeout=90, logs=logs)


def up(settings: Settings, nodes: int, *, may_install: bool) -> None:
    """Bring the cluster to `nodes` Ready nodes: from nothing, from a running one, or from a half-dead one."""
    if not 1 <= nodes <= MAX_NODES:
        raise ClusterError(f"{nodes} nodes asked for; expected 1 to {MAX_NODES}")
    preflight.require(may_install=may_install)
    for limit in machine_limits.look(settings, nodes):
        if not limit.enough:
            say(limit.warning)
    programs = tools.bin_dir(PROGRAMS)
    _prepare(settings, programs)
    changed = [_step("certificates", made=pki.ensure(settings))]
    hostnet.ensure(settings)
    changed.append(_step("registries", made=registries.start(settings, programs)))
    changed.append(_step("etcd and API server", made=control_plane.start_api(settings, programs)))
    changed.append(_step("controllers", made=control_plane.start_controllers(settings, programs)))
    changed.append(_remove_surplus(settings, nodes))
    started = _start_nodes(settings, programs, nodes)
    changed.append(_step(f"{started} of {nodes} nodes", made=started > 0))
    addons.apply(settings, programs, nodes)
    changed.append(_step("cluster DNS", made=control_plane.start_dns(settings, programs)))
    keeper = [sys.executable, LOCAL / "cluster", _KEEPER]
    changed.append(_step("volume keeper", made=processes.start(settings, _KEEPER, keeper)))
    registries.await_ready(settings)
    control_plane.await_dns(settings)
    _await_nodes(settings, nodes)
    say(f"{nodes} nodes Ready" if any(changed) else f"{nodes} nodes Ready; everything was running already")


def _step(what: str, *, made: bool) -> bool:
    if made:
        say(f"{what}: started" if what != "certificates" else "certificates: made")
    return made


def down(settings: Settings) -> None:
    """End the cluster and leave nothing behind; works on any remains, and on none."""
    numbers = node.existing(settings)
    ended = processes.kill_all(settings)
    if ended:
        say(f"{ended} processes ended")
    for number in range(1, MAX_NODES + 1):
        node.remove(settings, number)
    hostnet.remove(settings)
    if numbers:
        say("network, cgroups and kernel settings put back")
    if settings.state.exists():
        shutil.rmtree(settings.state)
    if ended or numbers:
        say(f"state directory with {len(numbers)} nodes removed; nothing is left")
    else:
        say("no cluster was running; nothing is left")


def kill_node(settings: Settings, number: int) -> None:
    """Cut the power of one node."""
    if number not in node.existing(settings):
        raise ClusterError(f"there is no {settings.node_name(number)}; nodes: {node.existing(settings)}")
    was_running = node.kill(settings, number)
    say(f"{settings.node_name(number)}: power {'cut' if was_running else 'was off already'}")


def start_node(settings: Settings, number: int) -> None:
    """Switch a node on again and wait until it is Ready."""
    if number not in node.existing(settings):
        raise ClusterError(f"there is no {settings.node_name(number)}; nodes: {node.existing(settings)}")
    node.start(settings, number, tools.bin_dir(PROGRAMS), images.pause_folder())
    name = settings.node_name(number)
    logs = node.log_files(settings, number)
    wait_for(f"{name} is Ready", lambda: api.node_conditions(settings).get(name, False), timeout=60, logs=logs)
    say(f"{name} is Ready")


def status(settings: Settings) -> bool:
    """Print every part and whether it runs; True when all do."""
    parts = (*control_plane.COMPONENTS, *registries.COMPONENTS, _KEEPER)
    states = {part: "up" if processes.find(settings, part) else "DOWN" for part in parts}
    reached = control_plane.api_ready(settings)
    conditions = api.node_conditions(settings) if reached else {}
    for number in node.existing(settings):
        name = settings.node_name(number)
        readiness = "up" if conditions.get(name) else "NOT READY" if reached else "UNKNOWN"
        states[name] = readiness if node.running(settings, number) else "DOWN"
    states["API server answers"] = "up" if reached else "NO"
    states["DNS answers"] = "up" if control_plane.dns_ready(settings) else "NO"
    for part, state in states.items():
        print(f"{part:28} {state}")
    return set(states.values()) == {"up"}
