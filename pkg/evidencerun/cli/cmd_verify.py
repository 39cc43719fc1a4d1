# SPDX-License-Identifier: Apache-2.0
"""`evr verify`: judge a bundle, offline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evidencerun import limits
from evidencerun.cli.bundle_input import read_bundle, read_input
from evidencerun.cli.options import DurationType, output_option
from evidencerun.errors import EvidenceError

if TYPE_CHECKING:
    from evidencerun.verify.result import VerificationReport


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public key (PEM) of the one signer to accept, such as evidence.pub of `evr pull --key`.",
)
@click.option(
    "--recipe", type=click.Path(path_type=Path), metavar="FILE", help="Recipe that the evidence must be about."
)
@click.option("--max-age", type=DurationType(), help="Greatest age to accept, such as 90d, by the signer's clock.")
@output_option
def verify(bundle: Path, *, key: Path | None, recipe: Path | None, max_age: float | None, output: str) -> int:
    """Judge BUNDLE, a tar.gz or a directory, by seven questions: is it intact, who signed it, is it about this recipe,
    did everything required run, did it pass, is it recent, does the policy accept it.

    The exit code is 0 if no question that was asked is answered no, else that of the first no: see `evr help
    exit-codes`. Without --key no bundle is accepted. Nothing is fetched, nothing is unpacked, and nothing in the bundle
    is believed that can be derived again.

    \b
    evr verify bundle.tar.gz --key evidence.pub
    evr verify bundle.tar.gz --key evidence.pub --recipe recipe.yaml --max-age 90d
    """
    report = _judge(bundle, key, recipe, max_age)
    if output == "json":
        from evidencerun.report.json_output import render_json

        click.echo(render_json(report), nl=False)
    else:
        from evidencerun.report.text import render

        click.echo(render(report), nl=False)
    return report.exit_code


def _judge(bundle: Path, key: Path | None, recipe: Path | None, max_age: float | None) -> VerificationReport:
    from evidencerun.verify.run import refused, verify_bundle

    key_pem = read_input(key, what="the public key", max_bytes=limits.PUBLIC_KEY_PEM_MAX) if key else None
    wanted = read_input(recipe, what="the recipe", max_bytes=limits.RECIPE_MAX) if recipe else None
    try:
        files = read_bundle(bundle)
    except EvidenceError as fault:
        return refused(fault)
    return verify_bundle(files, now=_now(), key_pem=key_pem, recipe=wanted, max_age=max_age)


def _now() -> datetime:
    return datetime.now(UTC)
