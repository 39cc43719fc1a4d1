# SPDX-License-Identifier: Apache-2.0
"""`evr run`: create an EvidenceRun from a manifest and, if asked, follow it to its end."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import click

from evidencerun import limits
from evidencerun.canonical import parse_yaml
from evidencerun.cli.exits import Exit
from evidencerun.cli.follow import follow
from evidencerun.cli.options import DurationType, cluster_options, output_option
from evidencerun.cli.run_objects import INSTALL
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.sync import KubeconfigCluster, run_path

API_VERSION = "evidencerun.dev/v1alpha1"
_MANY_DOCUMENTS = "E1105"


@click.command()
@click.option("-f", "--filename", type=click.File("rb"), required=True, help="Manifest of one EvidenceRun; - is stdin.")
@click.option("--wait", is_flag=True, help="Follow the run; the exit code is its verdict's.")
@click.option("--timeout", type=DurationType(), help="Stop following after this time, e.g. 30m; the run goes on.")
@cluster_options
@output_option
def run(
    filename: BinaryIO,
    *,
    wait: bool,
    timeout: float | None,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    output: str,
) -> Exit:
    """Create an EvidenceRun in the cluster and follow it.

    \b
    evr run -f deploy/examples/checks-failed.yaml --wait
    evr run -f run.yaml -n evidence
    """
    manifest = read_manifest(filename.read(limits.RECIPE_MAX * 2 + 1), where=filename.name)
    cluster = KubeconfigCluster.from_kubeconfig(kubeconfig, context)
    target = namespace or manifest["metadata"].get("namespace") or cluster.namespace
    created, fresh = create(cluster, target, manifest)
    name = created["metadata"]["name"]
    if not fresh:
        click.echo(f"EvidenceRun {target}/{name} is there already, with the same spec; nothing was created.", err=True)
    if wait:
        return follow(cluster, target, name, timeout=timeout, output=output)
    if output == "json":
        click.echo(json.dumps(created, indent=2, sort_keys=True))
    else:
        again = click.get_current_context().find_root().info_name
        word = "created" if fresh else "unchanged"
        click.echo(f"EvidenceRun {target}/{name} {word}. Follow it: {again} status -n {target} {name} --wait")
    return Exit.ACCEPTED


def read_manifest(data: bytes, *, where: str) -> dict[str, Any]:
    """Return the EvidenceRun in a manifest.

    Raises `InputError` for anything but exactly one document of our kind; documents of other kinds belong to
    `kubectl apply`.
    """
    try:
        manifest = parse_yaml(data, what=where, max_bytes=limits.RECIPE_MAX * 2, max_scalar=limits.RECIPE_MAX)
    except InputError as error:
        if error.code != _MANY_DOCUMENTS:
            raise
        raise InputError(
            error.code,
            error.what,
            where=error.where,
            why="evr run takes one EvidenceRun alone",
            fix=f"kubectl apply -f {where}",
        ) from error
    if not isinstance(manifest, dict):
        raise InputError("E1402", "the manifest is not a mapping", where=where, fix="start from deploy/examples/")
    for field, expected in (("apiVersion", API_VERSION), ("kind", "EvidenceRun")):
        if manifest.get(field) != expected:
            raise InputError(
                "E1402",
                f"{field} is {manifest[field]!r}" if field in manifest else f"{field} is missing",
                where=f"{where}: {field}",
                why=f"expected {expected!r}",
                fix="evr run takes one EvidenceRun; use kubectl apply -f for everything else",
            )
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise InputError("E1402", "the run has no name", where=f"{where}: metadata.name", fix="give it a name")
    return manifest


def create(cluster: KubeconfigCluster, namespace: str, manifest: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Create the run, or return the one that exists with the same spec; and whether it was created now.

    Raises `InputError` E1403 if a run of that name exists with another spec: a run is immutable.
    """
    body = {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
    try:
        return cluster.create(run_path(namespace), body), True
    except ClusterError as error:
        if error.status == 409 and "name" in manifest["metadata"]:
            return _adopt(cluster, namespace, manifest), False
        if error.status == 404:
            raise ClusterError(
                error.code,
                f"the cluster does not know EvidenceRun, or namespace {namespace!r} does not exist",
                why=error.why,
                fix=INSTALL,
                retryable=False,
            ) from error
        if error.status in (400, 422):
            raise InputError("E1404", "the API server refuses the run", why=error.why, fix="mend the field") from error
        raise


def _adopt(cluster: KubeconfigCluster, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    name = str(manifest["metadata"]["name"])
    existing = cluster.get(run_path(namespace, name))
    wanted, found = manifest.get("spec") or {}, existing.get("spec") or {}
    different = sorted(key for key in wanted if wanted[key] != found.get(key))
    if different:
        raise InputError(
            "E1403",
            f"EvidenceRun {namespace}/{name} exists with another spec",
            where=", ".join(f"spec.{key}" for key in different),
            why="a run is immutable once it is created",
            fix=f"choose another name, or: kubectl delete evr -n {namespace} {name}",
        )
    return existing
