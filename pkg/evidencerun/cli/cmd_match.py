# SPDX-License-Identifier: Apache-2.0
"""`evr match`: does a snapshot show the cluster that a recipe asks for? Offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evidencerun import limits
from evidencerun.cli.exits import Exit

if TYPE_CHECKING:
    from evidencerun.fingerprint import MatchResult

_EXITS = {
    "matched": Exit.ACCEPTED,
    "not-asked": Exit.ACCEPTED,
    "unproven": Exit.INCOMPLETE,
    "mismatched": Exit.MISMATCH,
}
_SENTENCES = {
    "matched": "the snapshot shows everything that the recipe asks for",
    "not-asked": "the recipe asks for nothing that can be observed",
    "unproven": "nothing contradicts the recipe, and not everything that it asks for is known",
    "mismatched": "the cluster is not what the recipe asks for",
}


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.option(
    "--nodes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="nodes.json of the same bundle: every node's own signals instead of the snapshot's merged readings.",
)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
)
def match(recipe: Path, snapshot: Path, nodes: Path | None, output: str) -> int:
    """Compare the criteria of RECIPE with what SNAPSHOT shows. No cluster, no network.

    The fingerprint is recomputed from the measurements. Constraints are not judged here.

    \b
    exit code  0  matched, or the recipe asks for nothing
              11  unproven: something that the recipe asks for is unknown
              14  mismatched
               2  a file is refused

    \b
    evr match recipe.yaml snapshot.yaml
    evr match recipe.yaml snapshot.yaml -o json | jq .overall
    """
    from evidencerun.cli.snapshot_files import read_input, read_snapshot
    from evidencerun.fingerprint import fingerprint
    from evidencerun.recipe import load_recipe

    wanted = load_recipe(read_input(recipe, limits.RECIPE_MAX))
    result = fingerprint(*read_snapshot(snapshot, nodes)).match(wanted)
    if output == "json":
        click.echo(json.dumps(result.to_dict(), indent=2, sort_keys=True))
    else:
        for line in _lines(result):
            click.echo(line)
    return _EXITS[result.overall]


def _lines(result: MatchResult) -> Iterator[str]:
    from evidencerun.bundle.escape import plain_text
    from evidencerun.fingerprint.match import Outcome

    yield f"{'DIMENSION':<12} {'RECIPE':<14} {'OUTCOME':<26} OBSERVED"
    for row in result.dimensions:
        asked, seen = plain_text(row.recipe), plain_text(row.observed)
        yield f"{row.name:<12} {asked:<14} {row.describe():<26} {seen}"
    simulated = " (synthetic: the hardware looks simulated)" if result.synthetic else ""
    hidden = ", ".join(row.name for row in result.dimensions if row.outcome is Outcome.NOT_OBSERVABLE)
    limit = f" in all that can be observed; not observable: {hidden}" if hidden and result.overall == "matched" else ""
    yield f"{result.overall}: {_SENTENCES[result.overall]}{limit}{simulated}"
