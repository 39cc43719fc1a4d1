# SPDX-License-Identifier: Apache-2.0
"""`evr pull`: fetch a run's sealed bundle through the API server, as `kubectl get --raw` would."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import click

from evidencerun import limits
from evidencerun.canonical import sha256_prefixed
from evidencerun.cli.exits import Exit
from evidencerun.cli.options import cluster_options
from evidencerun.cli.run_objects import read_run
from evidencerun.errors import EvidenceError, InputError
from evidencerun.kube.sync import KubeconfigCluster

_SYSTEM_NAMESPACE = "evidencerun-system"
_FETCH_SECONDS = 300
_LOGS_KEY = re.compile(r"/v1/logs/([0-9a-f]{32})(?![0-9a-f])")
"""The key stands in the literal command of `status.bundle.fetchLogs` and nowhere else."""


@click.command()
@click.argument("name")
@click.option("-d", "--directory", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where to.")
@click.option("--logs", is_flag=True, help="Fetch the archive of the checks' logs too; logs are not redacted.")
@click.option("--key", is_flag=True, help="Fetch the cluster's public signing key too, as evidence.pub.")
@click.option("--unpack", is_flag=True, help="Write the bundle's files into DIRECTORY/bundle/ too.")
@click.option("--system-namespace", default=_SYSTEM_NAMESPACE, show_default=True, help="Where the store runs.")
@cluster_options
def pull(
    name: str,
    *,
    directory: Path,
    logs: bool,
    key: bool,
    unpack: bool,
    system_namespace: str,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
) -> Exit:
    """Fetch the sealed bundle of run NAME as bundle.tar.gz; its digest is checked against the run's status.

    The key that --key fetches is only as trustworthy as the cluster that it comes from.
    """
    cluster = KubeconfigCluster.from_kubeconfig(kubeconfig, context)
    target = namespace or cluster.namespace
    bundle = _sealed_bundle(read_run(cluster, target, name), target)
    base = f"/api/v1/namespaces/{system_namespace}/services/https:evidence-store:443/proxy/v1"
    data = _fetch(cluster, f"{base}/bundles/{bundle['archiveDigest']}", bundle["archiveDigest"])
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "bundle.tar.gz", data)
    if unpack:
        _unpack(data, directory / "bundle")
    if logs:
        found = _LOGS_KEY.search(str(bundle.get("fetchLogs") or ""))
        if found is None:
            raise InputError("E1406", f"run {target}/{name} has no separate log archive", fix="leave out --logs")
        _write(
            directory / "evidence-logs.tar.gz", _fetch(cluster, f"{base}/logs/{found[1]}", str(bundle["logsDigest"]))
        )
    if key:
        _write(directory / "evidence.pub", _public_key(cluster, system_namespace))
    return Exit.ACCEPTED


def _sealed_bundle(run: dict[str, Any], namespace: str) -> dict[str, Any]:
    bundle: dict[str, Any] = dict((run.get("status") or {}).get("bundle") or {})
    if not bundle.get("archiveDigest"):
        name, state = run["metadata"]["name"], (run.get("status") or {}).get("phase") or "Pending"
        raise InputError(
            "E1405",
            f"run {namespace}/{name} has no sealed bundle",
            why=f"it is {state}",
            fix=f"evr status -n {namespace} {name} --wait",
        )
    return bundle


def _fetch(cluster: KubeconfigCluster, path: str, digest: str) -> bytes:
    data = cluster.get_bytes(path, max_bytes=limits.BUNDLE_ARCHIVE_MAX, timeout=_FETCH_SECONDS)
    found = sha256_prefixed(data)
    if found != digest:
        raise EvidenceError("E2003", "the bytes fetched are not those of the status", why=f"{found}, not {digest}")
    return data


def _public_key(cluster: KubeconfigCluster, namespace: str) -> bytes:
    data = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/evidence-public").get("data") or {}
    if "signing.pub" not in data:
        raise InputError("E1407", "the cluster has not published a signing key yet", fix="look at the evidence-sealer")
    return str(data["signing.pub"]).encode()


def _unpack(data: bytes, directory: Path) -> None:
    from evidencerun.bundle.archive import read_archive

    for path, content in read_archive(data).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        _write(directory / path, content, quiet=True)
    click.echo(f"{directory}/")


def _write(path: Path, data: bytes, *, quiet: bool = False) -> None:
    """Write through a temporary file, so that a broken transfer never leaves half a bundle under the final name."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if not quiet:
        click.echo(f"{path}   {len(data)} bytes   {sha256_prefixed(data)}")
