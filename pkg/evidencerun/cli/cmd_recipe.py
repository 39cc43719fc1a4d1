# SPDX-License-Identifier: Apache-2.0
"""`evr recipe`: digest, canonicalise and lint recipes, offline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from evidencerun import limits
from evidencerun.bundle.escape import plain_text
from evidencerun.canonical import RecipePredicate, canonical_recipe_digest, canonical_yaml, sha256_hex
from evidencerun.cli.exits import Exit
from evidencerun.errors import InputError

_LINE_MAX = 4096
"""Characters of one line; names in a recipe may be longer than anybody reads."""
_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")


@click.group()
def recipe() -> None:
    """Digest, canonicalise and lint recipes (AICR RecipeResults). No cluster, no network."""


@recipe.command(short_help="Print the digest of recipes, one line each, like sha256sum.")
@_FILES
@click.option(
    "--predicate",
    type=click.Choice([version.value for version in RecipePredicate]),
    default=RecipePredicate.V3.value,
    show_default=True,
    help="Digest rule: v1 and v2 hash the file as it is, v3 its canonical form without metadata.version.",
)
def digest(files: tuple[Path, ...], predicate: str) -> int:
    """Print the recipe digest of each FILE, one line each, like sha256sum.

    A FILE that is refused gives one line on standard error; the others are printed all the same, and the exit code
    is 2.
    """
    rule = RecipePredicate(predicate)
    return _print_digests(files, lambda data: canonical_recipe_digest(data, rule))


@recipe.command(short_help="Print the canonical form of a YAML document.")
@_FILES
@click.option("--sha256", is_flag=True, help="Print the form's SHA-256 and the name of each FILE instead of the form.")
def canonical(files: tuple[Path, ...], sha256: bool) -> int:
    """Print the canonical form of FILE (any YAML document): what Go yaml.v3 prints, keys sorted, comments dropped."""
    if sha256:
        return _print_digests(files, lambda data: sha256_hex(canonical_yaml(data)))
    if len(files) > 1:
        raise click.UsageError("one FILE is expected; use --sha256 for several")

    def write(_: Path, data: bytes) -> bool:
        sys.stdout.buffer.write(canonical_yaml(data))
        return True

    return _for_each(files, write)


@recipe.command(short_help="Name what a recipe says without effect.")
@_FILES
def lint(files: tuple[Path, ...]) -> int:
    """Name what a recipe says without effect: constraints that nobody reads, unknown names, unknown checks.

    Exit code 2 if a FILE is refused or has findings of level `error`; notes alone give 0.
    """
    from evidencerun import recipe as recipes

    def report(path: Path, data: bytes) -> bool:
        findings = recipes.lint(recipes.load_recipe(data))
        for finding in findings:
            click.echo(plain_text(f"{path}: {finding}", at_most=_LINE_MAX))
        if not findings:
            click.echo(f"{path}: no findings: no unread constraint, no unknown name, no unknown check")
        return not any(finding.level is recipes.Level.ERROR for finding in findings)

    return _for_each(files, report)


def _print_digests(files: tuple[Path, ...], digest_of: Callable[[bytes], str]) -> int:
    def print_line(path: Path, data: bytes) -> bool:
        click.echo(f"{digest_of(data)}  {path}")
        return True

    return _for_each(files, print_line)


def _for_each(files: tuple[Path, ...], handle: Callable[[Path, bytes], bool]) -> int:
    """Call `handle` for each file; return 2 if one was refused, could not be read or was found bad, else 0."""
    good = True
    for path in files:
        try:
            with path.open("rb") as source:
                # One byte more than is allowed, so that a longer file is refused and not cut.
                data = source.read(limits.RECIPE_MAX + 1)
            good &= handle(path, data)
        except OSError as fault:
            click.echo(f"{path}: cannot be read ({fault.strerror})", err=True)
            good = False
        except InputError as fault:
            click.echo(plain_text(f"{path}: {fault.code} {' '.join(str(fault).split())}", at_most=_LINE_MAX), err=True)
            good = False
    return Exit.ACCEPTED if good else Exit.USAGE
