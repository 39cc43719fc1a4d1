# SPDX-License-Identifier: Apache-2.0
"""Entry point of `evr`: finds the subcommand, catches errors, sets the exit code.

A subcommand's module is imported only when it is called, so that `evr --help` and the offline commands stay fast and
never load a Kubernetes client.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import PurePath

import click

from evidencerun import __version__
from evidencerun.cli.exits import Exit, exit_for_error, table
from evidencerun.errors import Error

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("evidencerun.cli.cmd_run:run", "Create an EvidenceRun in the cluster and follow it."),
    "status": ("evidencerun.cli.cmd_status:status", "Show one run, or all runs of a namespace."),
    "pull": ("evidencerun.cli.cmd_pull:pull", "Fetch a run's sealed bundle from the cluster."),
    "verify": ("evidencerun.cli.cmd_verify:verify", "Judge a bundle, offline: seven questions, one exit code."),
    "show": ("evidencerun.cli.cmd_show:show", "Show what a bundle says, without judging it."),
    "recipe": ("evidencerun.cli.cmd_recipe:recipe", "Digest, canonicalise and lint recipes, offline."),
    "fingerprint": ("evidencerun.cli.cmd_fingerprint:fingerprint", "Print the fingerprint of a snapshot, offline."),
    "match": ("evidencerun.cli.cmd_match:match", "Compare a recipe with a snapshot, offline."),
    "help": ("evidencerun.cli.app:help_topic", "Explain a topic: exit-codes."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or `None` for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{attribute} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="evr")
def app() -> None:
    """Signed evidence of what a GPU cluster is and which checks it passed.

    \b
    In a cluster:   evr run -f run.yaml --wait
    On a laptop:    evr verify bundle.tar.gz --key evidence.pub
    """


@click.command("help")
@click.argument("topic", type=click.Choice(["exit-codes"]))
def help_topic(topic: str) -> None:
    """Explain TOPIC."""
    click.echo({"exit-codes": table}[topic]())


def program_name(argv0: str) -> str:
    """Return the name to use in help texts: `kubectl evr` if called as the plugin."""
    return "kubectl evr" if PurePath(argv0).name.startswith("kubectl-") else "evr"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments, program_name(sys.argv[0])))


_LINE_MAX = 4096
"""Characters of one line of an error; a message longer than that was not written for people."""


def _harmless(error: Error) -> str:
    """Return the error's text with what a terminal would obey spelled out: names and values come from documents."""
    from evidencerun.bundle.escape import plain_text

    return "\n".join(plain_text(line, at_most=_LINE_MAX) for line in error.diagnostics().split("\n"))


def run(arguments: Sequence[str], name: str = "evr") -> int:
    """Run the command line and return its exit code; every `Error` becomes text on standard error."""
    try:
        result = app.main(args=list(arguments), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except Error as error:
        click.echo(_harmless(error), err=True)
        return exit_for_error(error)
    except BrokenPipeError:
        # The reader has gone (`evr … | head`): not our failure, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.ACCEPTED
    return int(result) if isinstance(result, int) else Exit.ACCEPTED
