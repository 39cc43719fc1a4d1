# SPDX-License-Identifier: Apache-2.0
"""`evr status`: one run in words, or all runs of a namespace in a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from evidencerun.cli.exits import Exit
from evidencerun.cli.follow import follow
from evidencerun.cli.options import DurationType, cluster_options, output_option
from evidencerun.cli.progress import clean, describe
from evidencerun.cli.run_objects import list_runs, read_run
from evidencerun.kube.sync import KubeconfigCluster

_COLUMNS = ("NAME", "RECIPE", "NODES", "PASSED", "PHASE", "VERDICT", "SIGNED")


@click.command()
@click.argument("name", required=False)
@click.option("--wait", is_flag=True, help="Follow the run to its end; the exit code is its verdict's.")
@click.option("--timeout", type=DurationType(), help="Stop following after this time, e.g. 30m.")
@cluster_options
@output_option
def status(
    name: str | None,
    *,
    wait: bool,
    timeout: float | None,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    output: str,
) -> Exit:
    """Show run NAME, or all runs of the namespace.

    Without --wait the exit code is 0 whenever the question could be answered.
    """
    cluster = KubeconfigCluster.from_kubeconfig(kubeconfig, context)
    target = namespace or cluster.namespace
    if name is None:
        _show_all(cluster, target, output)
        return Exit.ACCEPTED
    if wait:
        return follow(cluster, target, name, timeout=timeout, output=output)
    run = read_run(cluster, target, name)
    if output == "json":
        click.echo(json.dumps(run, indent=2, sort_keys=True))
    else:
        description = describe(run, datetime.now(UTC))
        click.echo("\n".join([description.headline, *description.rows]))
    return Exit.ACCEPTED


def _show_all(cluster: KubeconfigCluster, namespace: str, output: str) -> None:
    runs = list_runs(cluster, namespace)
    if output == "json":
        click.echo(json.dumps(runs, indent=2, sort_keys=True))
        return
    if not runs:
        click.echo(f"no EvidenceRun in namespace {namespace}", err=True)
        return
    rows = [_COLUMNS, *(_row(run) for run in runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    state = run.get("status") or {}
    nodes, checks = state.get("nodes") or {}, state.get("checks") or {}
    cells = (
        run["metadata"]["name"],
        (state.get("plan") or {}).get("recipeName") or "-",
        f"{nodes.get('reported', 0)}/{nodes.get('targeted', 0)}",
        f"{checks.get('passed', 0)}/{checks.get('declared', 0)}",
        state.get("phase") or "Pending",
        state.get("verdict") or "-",
        "yes" if (state.get("bundle") or {}).get("signer") else "-",
    )
    return tuple(clean(str(cell)) for cell in cells)
