# SPDX-License-Identifier: Apache-2.0
"""The command `cluster`."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from evidencelocal import images, lifecycle, machine_limits, node, ownership, preflight, registries, tools, volumes
from evidencelocal.settings import LOCAL, REGISTRY_USER, ClusterError, Settings, from_environment
from evidencelocal.shell import say

DEFAULT_NODES = 3
OF_CLUSTER = ("EVIDENCERUN_CACHE", "EVIDENCERUN_STATE", "EVIDENCERUN_INSTANCE")
"""Variables that say which cluster is meant; whoever set one needs it again for the next command."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cluster", description="a Kubernetes cluster on this machine")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring it up, or mend it")
    up.add_argument("--nodes", type=int, default=DEFAULT_NODES)
    up.add_argument("--install", action="store_true", help="install missing Debian packages")
    down = commands.add_parser("down", help="end it and leave nothing behind")
    for command in (up, down):
        command.add_argument("--take-over", action="store_true", help="even if it is another checkout's")
    commands.add_parser("status", help="say what runs; exit code 1 unless everything does, 3 if it is not ours")
    commands.add_parser("env", help="print what a shell needs: eval $(cluster env)")
    doctor = commands.add_parser("doctor", help="say what this machine lacks")
    doctor.add_argument("--install", action="store_true", help="install missing Debian packages")
    load = commands.add_parser("load", help="import OCI image archives into all nodes")
    load.add_argument("archive", nargs="+", type=Path)
    for name, text in (("kill-node", "cut a node's power"), ("start-node", "switch a node on again")):
        commands.add_parser(name, help=text).add_argument("number", type=int)
    inside = commands.add_parser("exec-node", help="run a command inside a node: cluster exec-node 2 -- ps ax")
    inside.add_argument("number", type=int)
    inside.add_argument("words", nargs="+")
    commands.add_parser("reset-volumes", help="offer released volumes again now")
    commands.add_parser("volume-keeper", help="offer released volumes again, for ever (started by up)")
    return parser


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Let only one command change the cluster at a time, and only root."""
    if os.geteuid() != 0:
        raise ClusterError("not root: namespaces, mounts and routes need root; fix: run it with sudo")
    settings.state.parent.mkdir(parents=True, exist_ok=True)
    with settings.state.with_name(settings.state.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _environment(settings: Settings) -> str:
    lines = {
        "KUBECONFIG": settings.kubeconfig,
        "EVIDENCERUN_REGISTRY": settings.registry,
        "EVIDENCERUN_REGISTRY_USER": REGISTRY_USER,
        "EVIDENCERUN_REGISTRY_PASSWORD_FILE": registries.password_file(settings),
        "EVIDENCERUN_REGISTRY_CA": settings.pki / "ca.crt",
        "EVIDENCERUN_REFERRERS_REGISTRY": settings.referrers_registry,
        "EVIDENCERUN_AUDIT_LOG": settings.state / "audit.log",
    }
    exports = [f"export {name}={value}" for name, value in lines.items()]
    return "\n".join([*exports, f'export PATH="{tools.bin_dir(lifecycle.PROGRAMS)}:$PATH"'])


def _doctor(settings: Settings, *, may_install: bool) -> int:
    preflight.require(may_install=may_install)
    limits = machine_limits.look(settings, DEFAULT_NODES)
    for limit in limits:
        print(limit.line)
    for limit in limits:
        if not limit.enough:
            say(limit.warning)
    short = "" if all(limit.enough for limit in limits) else ", but for the limits that are named above"
    print(f"this machine has everything that the cluster needs{short}")
    return 0


def _up(settings: Settings, options: argparse.Namespace) -> None:
    lifecycle.up(settings, options.nodes, may_install=options.install)
    print(_environment(settings))
    variables = "".join(f"{name}={os.environ[name]} " for name in OF_CLUSTER if name in os.environ)
    program = LOCAL / "cluster"
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    say(f'to use it in a shell: eval "$({variables}{shown} env)"')


def _show_environment(settings: Settings) -> None:
    if not settings.kubeconfig.is_file():
        raise ClusterError("no cluster is running; fix: cluster up")
    ownership.require(settings, take_over=False)
    print(_environment(settings))


def _change(settings: Settings, options: argparse.Namespace) -> int:
    """The commands that change the cluster; they hold its lock."""
    ownership.require(settings, take_over=getattr(options, "take_over", False))
    match options.command:
        case "up":
            _up(settings, options)
        case "down":
            lifecycle.down(settings)
        case "load":
            images.load(settings, options.archive)
        case "kill-node":
            lifecycle.kill_node(settings, options.number)
        case "start-node":
            lifecycle.start_node(settings, options.number)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code. Raises ClusterError for faults that the user can mend."""
    options = _parser().parse_args(arguments)
    settings = from_environment()
    match options.command:
        case "doctor":
            return _doctor(settings, may_install=options.install)
        case "volume-keeper":
            volumes.keep(settings)
        case "reset-volumes":
            volumes.renew_released(settings)
        case "exec-node":
            ownership.require(settings, take_over=False)
            print(node.inside(settings, options.number, options.words), end="")
        case "status":
            ownership.require(settings, take_over=False)
            return 0 if lifecycle.status(settings) else 1
        case "env":
            _show_environment(settings)
        case _:
            with _alone(settings):
                return _change(settings, options)
    return 0
