# SPDX-License-Identifier: Apache-2.0
"""What the operator's Deployment tells it, read once at start from environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evidencerun.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The surroundings of the operator. Names of environment variables: `EVIDENCERUN_` and the member in capitals."""

    system_namespace: str
    probes_namespace: str
    checks_namespace: str
    run_namespaces: tuple[str, ...]
    store_url: str
    token_file: str
    """A projected token for the store; read again for every request."""
    image: str
    probe_image: str
    kubeconfig: str = ""
    """Of `KUBECONFIG`; empty in a pod."""
    health_port: int = 8080
    workers: int = 4
    """Runs that are looked at at the same time."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Return the settings. Raises `InputError` E3600 that names every variable that is missing or wrong."""
    wanted = {
        "system_namespace": "EVIDENCERUN_SYSTEM_NAMESPACE",
        "probes_namespace": "EVIDENCERUN_PROBES_NAMESPACE",
        "checks_namespace": "EVIDENCERUN_CHECKS_NAMESPACE",
        "store_url": "EVIDENCERUN_STORE_URL",
        "token_file": "EVIDENCERUN_TOKEN_FILE",
        "image": "EVIDENCERUN_IMAGE",
        "probe_image": "EVIDENCERUN_PROBE_IMAGE",
    }
    given = {member: environment.get(name, "").strip() for member, name in wanted.items()}
    faults = [f"{wanted[member]} is not set" for member, value in given.items() if not value]
    listed = environment.get("EVIDENCERUN_RUN_NAMESPACES", "")
    namespaces = tuple(sorted({name.strip() for name in listed.split(",") if name.strip()}))
    if not namespaces:
        faults.append("EVIDENCERUN_RUN_NAMESPACES names no namespace")
    port, workers = environment.get("EVIDENCERUN_HEALTH_PORT", "8080"), environment.get("EVIDENCERUN_WORKERS", "4")
    if not (port.isdigit() and 0 < int(port) < 65536):
        faults.append(f"EVIDENCERUN_HEALTH_PORT is {port!r}, expected a port number")
    if not (workers.isdigit() and 0 < int(workers) <= 64):
        faults.append(f"EVIDENCERUN_WORKERS is {workers!r}, expected a number from 1 to 64")
    if faults:
        raise InputError(
            "E3600",
            "the operator is not configured",
            where="environment",
            why="; ".join(faults),
            fix="install it with the chart, which sets these variables",
        )
    return Settings(
        **given,
        run_namespaces=namespaces,
        kubeconfig=environment.get("KUBECONFIG", ""),
        health_port=int(port),
        workers=int(workers),
    )
