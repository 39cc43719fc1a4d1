# SPDX-License-Identifier: Apache-2.0
"""`evr status`: one run in words, or all runs of a namespace in a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from evidencerun.cli.exits import Exit
from evidencerun.cli.follow import follow
from evidencerun.cli.options import cluster_options, follow_options, output_option, require_wait
from evidencerun.cli.progress import clean, describe
from evidencerun.cli.run_objects import LISTED, list_runs, read_run
from evidencerun.kube.sync import KubeconfigCluster
from evidencerun.report.words import recipe_title

_COLUMNS = ("NAMESPACE", "NAME", "RECIPE", "NODES", "PASSED", "PHASE", "VERDICT", "SIGNED")


@click.command()
@click.argument("name", required=False)
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="List the runs of all namespaces.")
@follow_options
@cluster_options
@output_option
def status(
    name: str | None,
    *,
    everywhere: bool,
    wait: bool,
    timeout: float | None,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    output: str,
) -> Exit:
    """Show run NAME in full; without NAME, list the runs of the namespace.

    Without --wait the exit code is 0 as soon as the question is answered, whatever the verdict is. Ctrl-C ends the
    following, not the run.

    \b
    evr status -A
    evr status -n evidence quickstart
    evr status -n evidence quickstart --wait
    """
    require_wait(wait, timeout)
    if name is None and wait:
        raise click.UsageError("--wait follows one run: give its NAME")
    if everywhere and (name is not None or namespace is not None):
        raise click.UsageError("-A lists the runs of all namespaces: leave out NAME and -n")
    cluster = KubeconfigCluster.from_kubeconfig(kubeconfig, context)
    target = namespace or cluster.namespace
    if name is None:
        _show_all(list_runs(cluster, "" if everywhere else target), "" if everywhere else target, output)
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


def _show_all(runs: list[dict[str, Any]], namespace: str, output: str) -> None:
    """Print a table; `namespace` is empty for all namespaces."""
    if output == "json":
        click.echo(json.dumps(runs, indent=2, sort_keys=True))
        return
    if not runs:
        click.echo(_none_found(namespace), err=True)
        return
    skip = 1 if namespace else 0
    rows = [row[skip:] for row in (_COLUMNS, *(_row(run) for run in runs))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if len(runs) >= LISTED:
        click.echo(f"at most {LISTED} runs are listed", err=True)


def _none_found(namespace: str) -> str:
    if not namespace:
        return "no EvidenceRun in any namespace"
    return f"no EvidenceRun in namespace {namespace}; name another with -n NAMESPACE, or list all with -A"


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    state = run.get("status") or {}
    nodes, checks = state.get("nodes") or {}, state.get("checks") or {}
    cells = (
        run["metadata"].get("namespace") or "",
        run["metadata"]["name"],
        recipe_title((state.get("plan") or {}).get("recipeName") or "-"),
        f"{nodes.get('reported', 0)}/{nodes.get('targeted', 0)}" if nodes else "-",
        f"{checks.get('passed', 0)}/{checks.get('declared', 0)}" if checks else "-",
        state.get("phase") or "Pending",
        state.get("verdict") or "-",
        "yes" if (state.get("bundle") or {}).get("signer") else "-",
    )
    return tuple(clean(str(cell)) for cell in cells)
