# SPDX-License-Identifier: Apache-2.0
"""`evr pull`: fetch a run's sealed bundle through the API server, as `kubectl get --raw` would."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from evidencerun import limits
from evidencerun.canonical import sha256_prefixed
from evidencerun.cli.exits import Exit
from evidencerun.cli.options import cluster_options
from evidencerun.cli.run_objects import is_complete, read_run
from evidencerun.errors import ClusterError, EvidenceError, InputError
from evidencerun.kube.sync import KubeconfigCluster

_SYSTEM_NAMESPACE = "evidencerun-system"
_FETCH_SECONDS = 300
_LOGS_KEY = re.compile(r"/v1/logs/([0-9a-f]{32})(?![0-9a-f])")
"""The key stands in the literal command of `status.bundle.fetchLogs` and nowhere else."""


@click.command()
@click.argument("name")
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where to write, made if it is missing; default: here.",
)
@click.option("--key", is_flag=True, help="Write the cluster's public signing key too, as evidence.pub.")
@click.option("--unpack", is_flag=True, help="Write the bundle's files too, into bundle/.")
@click.option(
    "--logs", is_flag=True, help="Write the checks' logs too, as evidence-logs.tar.gz; they are not redacted."
)
@click.option(
    "--system-namespace",
    default=_SYSTEM_NAMESPACE,
    show_default=True,
    metavar="NAME",
    help="Namespace in which EvidenceRun is installed.",
)
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
    """Fetch the sealed bundle of run NAME and write it to bundle.tar.gz.

    Its digest is compared with the one in the run's status. The key that --key fetches is only as trustworthy as the
    cluster that it comes from.

    \b
    evr pull -n evidence quickstart --key
    evr verify bundle.tar.gz --key evidence.pub
    """
    cluster = KubeconfigCluster.from_kubeconfig(kubeconfig, context)
    target = namespace or cluster.namespace
    bundle = _sealed_bundle(read_run(cluster, target, name), target)
    base = f"/api/v1/namespaces/{system_namespace}/services/https:evidence-store:443/proxy/v1"
    data = _fetch(cluster, f"{base}/bundles/{bundle['archiveDigest']}", bundle["archiveDigest"])
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / "bundle.tar.gz", data)
        if unpack:
            _unpack(data, directory / "bundle")
        if logs:
            found = _LOGS_KEY.search(str(bundle.get("fetchLogs") or ""))
            if found is None:
                raise InputError("E1406", f"run {target}/{name} has no separate log archive", fix="leave out --logs")
            archive = _fetch(cluster, f"{base}/logs/{found[1]}", str(bundle["logsDigest"]))
            _write(directory / "evidence-logs.tar.gz", archive)
        if key:
            _write(directory / "evidence.pub", _public_key(cluster, system_namespace))
    except OSError as fault:
        raise InputError(
            "E1431",
            "a file cannot be written",
            where=str(directory),
            why=fault.strerror or "",
            fix="name a folder with -d",
        ) from fault
    if not bundle.get("signer"):
        click.echo("this bundle is NOT SIGNED: evr verify will not accept it", err=True)
    return Exit.ACCEPTED


def _sealed_bundle(run: dict[str, Any], namespace: str) -> dict[str, Any]:
    status = run.get("status") or {}
    bundle: dict[str, Any] = dict(status.get("bundle") or {})
    if bundle.get("archiveDigest"):
        return bundle
    name, over = run["metadata"]["name"], is_complete(run)
    option = "-n" if over else "--wait -n"
    raise InputError(
        "E1405",
        f"run {namespace}/{name} has no sealed bundle",
        why=f"it ended as {status.get('verdict')}" if over else f"it is still {status.get('phase') or 'Pending'}",
        fix=f"evr status {option} {namespace} {name}",
    )


def _fetch(cluster: KubeconfigCluster, path: str, digest: str) -> bytes:
    with _advice("the evidence store does not have it (any more)"):
        data = cluster.get_bytes(path, max_bytes=limits.BUNDLE_ARCHIVE_MAX, timeout=_FETCH_SECONDS)
    found = sha256_prefixed(data)
    if found != digest:
        raise EvidenceError("E2003", "the bytes fetched are not those of the status", why=f"{found}, not {digest}")
    return data


def _public_key(cluster: KubeconfigCluster, namespace: str) -> bytes:
    with _advice(f"namespace {namespace} has no ConfigMap evidence-public"):
        data = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/evidence-public").get("data") or {}
    if "signing.pub" not in data:
        raise InputError(
            "E1407",
            "the cluster has not published a signing key yet",
            fix=f"kubectl logs -n {namespace} deploy/evidence-sealer",
        )
    return str(data["signing.pub"]).encode()


@contextmanager
def _advice(what: str) -> Iterator[None]:
    """Say in our words what the API server did not find."""
    try:
        yield
    except ClusterError as error:
        if error.status != 404:
            raise
        raise ClusterError(
            error.code,
            what,
            why=error.why,
            fix="if EvidenceRun is installed elsewhere, name its namespace with --system-namespace",
            retryable=False,
            status=error.status,
        ) from error


def _unpack(data: bytes, directory: Path) -> None:
    """Write the bundle's files. A file of another bundle among them would make the folder one that nobody signed."""
    from evidencerun.bundle.archive import read_archive

    files = read_archive(data)
    present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}
    if strange := sorted(present - files.keys()):
        raise InputError(
            "E1432",
            "the folder holds files of something else",
            where=str(directory),
            why=f"{strange[0]} is not in this bundle",
            fix="name another folder with -d, or remove this one",
        )
    for path, content in files.items():
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
