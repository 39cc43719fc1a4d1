# SPDX-License-Identifier: Apache-2.0
"""`evr run`: create an EvidenceRun from a manifest and, if asked, follow it to its end."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import click

from evidencerun import limits
from evidencerun.canonical import parse_yaml
from evidencerun.cli.applied import with_last_applied
from evidencerun.cli.exits import Exit
from evidencerun.cli.follow import follow
from evidencerun.cli.options import cluster_options, follow_options, output_option, require_wait
from evidencerun.cli.run_objects import INSTALL, is_complete
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.sync import KubeconfigCluster, run_path

API_VERSION = "evidencerun.dev/v1alpha1"
_MANY_DOCUMENTS = "E1105"


@click.command()
@click.option(
    "-f",
    "--filename",
    type=click.File("rb"),
    required=True,
    metavar="FILE",
    help="Manifest of one EvidenceRun; - reads standard input.",
)
@follow_options
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
    """Create the EvidenceRun that FILE describes; with --wait follow it to its end.

    A run is immutable: with the same FILE again, the run that exists is followed; with a changed one, the command says
    so and does nothing. Ctrl-C ends the following, not the run. `kubectl apply -f FILE` makes the same run.

    \b
    evr run -f run.yaml
    evr run -f run.yaml --wait --timeout 30m
    evr help exit-codes
    """
    require_wait(wait, timeout)
    manifest = read_manifest(filename.read(limits.RECIPE_MAX * 2 + 1), where=filename.name)
    cluster = KubeconfigCluster.from_kubeconfig(kubeconfig, context)
    target = _namespace(manifest, namespace, where=filename.name) or cluster.namespace
    created, fresh = create(cluster, target, manifest)
    name = created["metadata"]["name"]
    if not fresh:
        click.echo(_already_there(created, target), err=True)
    if wait:
        return follow(cluster, target, name, timeout=timeout, output=output)
    if output == "json":
        click.echo(json.dumps(created, indent=2, sort_keys=True))
    else:
        again = click.get_current_context().find_root().info_name
        word = "created" if fresh else "unchanged"
        click.echo(f"EvidenceRun {target}/{name} {word}. Follow it: {again} status -n {target} {name} --wait")
    return Exit.ACCEPTED


def _namespace(manifest: dict[str, Any], wanted: str | None, *, where: str) -> str | None:
    """Return the namespace to use, None for the context's. Two that differ are refused, as kubectl does."""
    given = manifest["metadata"].get("namespace")
    if given and wanted and given != wanted:
        raise InputError(
            "E1402",
            f"the manifest is for namespace {given}, and -n says {wanted}",
            where=f"{where}: metadata.namespace",
            fix="leave out -n, or change the manifest",
        )
    return wanted or given


def _already_there(run: dict[str, Any], namespace: str) -> str:
    name = run["metadata"]["name"]
    text = f"EvidenceRun {namespace}/{name} is there already, with the same spec; nothing was created."
    if not is_complete(run):
        return text
    verdict = (run.get("status") or {}).get("verdict") or "ended"
    return f"{text}\nIt is finished ({verdict}). To run it once more, first: kubectl delete evr -n {namespace} {name}"


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
        return cluster.create(run_path(namespace), with_last_applied(body)), True
    except ClusterError as error:
        if error.status == 409 and "name" in manifest["metadata"]:
            return _adopt(cluster, namespace, manifest), False
        if error.status == 404 and f'namespaces "{namespace}" not found' in error.why:
            raise InputError(
                "E1433",
                f"namespace {namespace} does not exist",
                fix="name one in which runs are served; the chart's runNamespaces, by default: evidence",
            ) from error
        if error.status == 404:
            raise ClusterError(
                error.code, "the cluster does not know EvidenceRun", why=error.why, fix=INSTALL, retryable=False
            ) from error
        if error.status in (400, 422):
            raise InputError(
                "E1404", "the API server refuses the run", why=error.why, fix="mend the manifest"
            ) from error
        raise


def _adopt(cluster: KubeconfigCluster, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    name = str(manifest["metadata"]["name"])
    existing = cluster.get(run_path(namespace, name))
    different = _different(manifest.get("spec") or {}, existing.get("spec") or {})
    if different:
        raise InputError(
            "E1403",
            f"EvidenceRun {namespace}/{name} exists with another spec",
            where=", ".join(f"spec.{key}" for key in different),
            why="a run is immutable once it is created",
            fix=f"choose another name, or first: kubectl delete evr -n {namespace} {name}",
        )
    return existing


def _different(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the fields that were added, changed or taken out; the API server fills in none by itself.

    A run that was cancelled since is still the same run.
    """
    fields = wanted.keys() | found.keys()
    if not wanted.get("cancel"):
        fields -= {"cancel"}
    return sorted(key for key in fields if (key in wanted, wanted.get(key)) != (key in found, found.get(key)))
