# SPDX-License-Identifier: Apache-2.0
"""`evr fingerprint`: what a snapshot says a cluster is, recomputed from its measurements, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evidencerun.cli.exits import Exit

if TYPE_CHECKING:
    from evidencerun.fingerprint import Facet, Fingerprint


_TIERS = {
    "T1": "nobody without the key of the hardware or the cloud",
    "T2": "root on the node",
    "T3": "whoever controls the vendor's library",
    "T4": "an administrator of node or cluster",
    "T5": "anybody who may label nodes",
}
"""The tiers of `snapshot.report.Tier`, in words."""


@click.command()
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.option(
    "--nodes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="nodes.json of the same bundle: every node's own signals instead of the snapshot's merged readings.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "yaml"]),
    default="text",
    show_default=True,
    help="Output format; yaml is the block as it stands in a snapshot.",
)
def fingerprint(snapshot: Path, nodes: Path | None, output: str) -> int:
    """Print the fingerprint of SNAPSHOT, AICR's or ours: what the cluster is, and from which signal each value comes.

    No cluster, no network. A fingerprint that is stored in the snapshot is not read: everything is computed again. The
    exit code is 0, whatever is known; 2 if a file is refused.

    \b
    evr fingerprint snapshot.yaml
    evr fingerprint snapshot.yaml --nodes nodes.json -o json
    """
    from evidencerun.cli.snapshot_files import read_snapshot
    from evidencerun.fingerprint import fingerprint as compute
    from evidencerun.snapshot.yaml_writer import write_yaml

    found = compute(*read_snapshot(snapshot, nodes))
    if output == "json":
        click.echo(json.dumps(found.to_dict(), indent=2, sort_keys=True))
    elif output == "yaml":
        click.echo(write_yaml(found.to_dict()), nl=False)
    else:
        for line in _lines(found):
            click.echo(line)
    return Exit.ACCEPTED


def _lines(found: Fingerprint) -> Iterator[str]:
    from evidencerun.bundle.escape import plain_text

    scope = found.scope
    machines = f"{scope.machines} machine{'' if scope.machines == 1 else 's'}"
    yield f"{'Nodes':<12} {scope.reported} of {scope.targeted} looked at, {machines}"
    if scope.in_cluster > scope.targeted:
        yield f"{'':<12} the cluster has {scope.in_cluster}"
    if found.shared_kernel:
        yield f"{'':<12} shared-kernel: nodes with one boot id are one machine, its devices are counted once"
    facets = {
        "Service": found.service,
        "Accelerator": found.accelerator,
        "GPU model": found.gpu_model,
        "OS": found.os,
        "OS version": found.os_version,
        "Kubernetes": found.k8s_version,
        "Region": found.region,
        "Kernel": found.kernel,
        "Driver": found.driver,
        "Machine": found.machine,
    }
    for title, facet in facets.items():
        yield from _facet_lines(title, facet)
    if found.trust.synthetic:
        yield f"{'Synthetic':<12} {'; '.join(plain_text(marker) for marker in found.trust.markers)}"
    shown = {facet.tier for facet in facets.values() if facet.tier is not None and facet.source}
    if shown:
        yield ""
        yield "Who could forge it: " + "; ".join(f"{tier} {words}" for tier, words in _TIERS.items() if tier in shown)


def _facet_lines(title: str, facet: Facet) -> Iterator[str]:
    from evidencerun.bundle.escape import plain_text

    tier = f"   from {facet.source} ({facet.tier})" if facet.tier is not None and facet.source else ""
    count = facet.values.get(facet.value)
    devices = f", {count.devices} devices" if count is not None and count.devices else ""
    yield f"{title:<12} {plain_text(facet.describe())}{devices}{plain_text(tier)}"
    for signal in facet.conflicts:
        said = plain_text(f"{signal.id} says {signal.value} ({signal.raw})")
        yield f"{'':<12} conflict: {said} on {signal.nodes} nodes"
