# SPDX-License-Identifier: Apache-2.0
"""`evr show`: print what a bundle says, without judging it."""

from __future__ import annotations

from pathlib import Path

import click

from evidencerun.cli.bundle_input import read_bundle
from evidencerun.cli.options import output_option


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@output_option
def show(bundle: Path, *, output: str) -> None:
    """Show what BUNDLE, a tar.gz or a directory, says of itself. Nothing is judged; `evr verify` does that.

    Only that the documents can be read is checked: neither digests, nor the signature, nor what follows from what.
    """
    from evidencerun.report.contents import contents_json, render_contents

    files = read_bundle(bundle)
    click.echo(contents_json(files) if output == "json" else render_contents(files), nl=False)
