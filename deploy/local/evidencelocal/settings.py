# SPDX-License-Identifier: Apache-2.0
"""Where things are and which addresses they have: everything else takes these values from here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

LOCAL = Path(__file__).resolve().parent.parent
MAX_NODES = 20
MAX_INSTANCE = 9
REGISTRY_USER = "evidence"
PAUSE_IMAGE = "evidencerun.local/pause:1"
VOLUMES_PATH = "/var/lib/evidencerun/volumes"
VOLUME_COUNT = 12
MARKER = "EVIDENCERUN_LOCAL_CLUSTER"
"""Environment variable that every started process carries; its value is the state directory."""


class ClusterError(Exception):
    """The cluster cannot be brought up, changed or ended; the message says why and what to do."""

    exit_code = 1


def cache_dir() -> Path:
    """The cache outside the checkout: $EVIDENCERUN_CACHE, else /var/cache/evidencerun, else ~/.cache."""
    chosen = os.environ.get("EVIDENCERUN_CACHE")
    if chosen:
        return Path(chosen).absolute()
    system = Path("/var/cache/evidencerun")
    if os.access(system if system.exists() else system.parent, os.W_OK):
        return system
    return Path.home() / ".cache" / "evidencerun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One cluster: its state directory and, derived from the instance number, its names, ports and addresses.

    Instance 0 is the cluster everybody uses; another number gives a second one beside it that shares no
    address, link, port or cgroup with the first.
    """

    state: Path
    instance: int = 0

    @property
    def context(self) -> str:
        return "evidencerun-local" + (f"-{self.instance}" if self.instance else "")

    @property
    def bridge(self) -> str:
        return f"evrlocal{self.instance}"

    @property
    def net(self) -> str:
        """First three octets of the node network; .1 is the host, .10+N is node N."""
        return f"10.{200 + self.instance}.0"

    @property
    def host(self) -> str:
        return f"{self.net}.1"

    @property
    def api(self) -> str:
        """Address of the API server, which is the service account issuer as well."""
        return f"https://{self.host}:6443"

    @property
    def pod_net(self) -> str:
        """First two octets of the pod network; node N has PREFIX.N.0/24."""
        return f"10.{244 + self.instance}"

    @property
    def service_net(self) -> str:
        return f"10.{96 + self.instance}.0"

    @property
    def dns_address(self) -> str:
        return f"{self.service_net}.10"

    @property
    def etcd_port(self) -> int:
        return 23790 + self.instance

    @property
    def etcd_peer_port(self) -> int:
        return 23800 + self.instance

    @property
    def controller_manager_port(self) -> int:
        return 10257 + 100 * self.instance

    @property
    def scheduler_port(self) -> int:
        return 10259 + 100 * self.instance

    @property
    def registry(self) -> str:
        """Registry with TLS and a password, without the referrers API."""
        return f"{self.host}:5000"

    @property
    def referrers_registry(self) -> str:
        """Registry in plain HTTP, in memory, with the referrers API."""
        return f"{self.host}:5001"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def images(self) -> Path:
        """Archives that every node imports when it starts."""
        return self.state / "images"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "admin.kubeconfig"

    def node_name(self, number: int) -> str:
        return f"node{number}"

    def node_dir(self, number: int) -> Path:
        return self.state / "nodes" / self.node_name(number)

    def node_address(self, number: int) -> str:
        return f"{self.net}.{10 + number}"

    def pod_cidr(self, number: int) -> str:
        return f"{self.pod_net}.{number}.0/24"

    def netns(self, number: int) -> str:
        return f"evr{self.instance}-node{number}"

    def veth(self, number: int) -> str:
        return f"evr{self.instance}n{number}"

    def cgroup(self, number: int) -> str:
        return f"evidencerun{self.instance}-node{number}"


def from_environment() -> Settings:
    """Settings from EVIDENCERUN_STATE (a directory) and EVIDENCERUN_INSTANCE (0 to 9)."""
    text = os.environ.get("EVIDENCERUN_INSTANCE", "0")
    if not text.isdigit() or int(text) > MAX_INSTANCE:
        raise ClusterError(f"EVIDENCERUN_INSTANCE is {text!r}; expected a number from 0 to {MAX_INSTANCE}")
    name = "cluster" + (f"-{text}" if text != "0" else "")
    chosen = os.environ.get("EVIDENCERUN_STATE")
    state = Path(chosen).absolute() if chosen else cache_dir() / name
    return Settings(state=state, instance=int(text))
