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
from evidencerun.errors import ClusterError, Error

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("evidencerun.cli.cmd_run:run", "Create a run; with --wait follow it to its end."),
    "status": ("evidencerun.cli.cmd_status:status", "Show one run, or all runs of a namespace."),
    "pull": ("evidencerun.cli.cmd_pull:pull", "Fetch a run's sealed bundle from the cluster."),
    "verify": ("evidencerun.cli.cmd_verify:verify", "Judge a bundle: seven questions, one exit code."),
    "show": ("evidencerun.cli.cmd_show:show", "Show what a bundle says, without judging it."),
    "recipe": ("evidencerun.cli.cmd_recipe:recipe", "Digest, canonicalise and lint recipes."),
    "fingerprint": ("evidencerun.cli.cmd_fingerprint:fingerprint", "Print the fingerprint of a snapshot."),
    "match": ("evidencerun.cli.cmd_match:match", "Compare a recipe with a snapshot."),
    "help": ("evidencerun.cli.app:help_topic", "Explain a command, or the exit codes: evr help exit-codes."),
}
_SECTIONS = {
    "In a cluster": ("run", "status", "pull"),
    "Anywhere, without a cluster and without a network": ("verify", "show", "recipe", "fingerprint", "match"),
    "Help": ("help",),
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
        width = max(map(len, COMMANDS))
        for title, names in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), COMMANDS[name][1]) for name in names])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="evr")
def app() -> None:
    """Make and judge signed evidence of what a GPU cluster is and which checks it passed.

    \b
    Make it, in a cluster that has EvidenceRun:
      evr run -f run.yaml --wait
      evr pull NAME --key
    Judge it, on any machine:
      evr verify bundle.tar.gz --key evidence.pub
    """


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND | exit-codes]")
@click.pass_context
def help_topic(context: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of a command, or explain the exit codes.

    \b
    evr help run
    evr help recipe digest
    evr help exit-codes
    """
    if words == ("exit-codes",):
        click.echo(table())
        return
    here = context.find_root()
    for word in words:
        group = here.command
        command = group.get_command(here, word) if isinstance(group, click.Group) else None
        if command is None:
            raise click.UsageError(f"there is nothing to explain about {' '.join(words)!r}")
        here = click.Context(command, info_name=word, parent=here)
    click.echo(here.get_help())


def program_name(argv0: str) -> str:
    """Return the name to use in help texts: `kubectl evr` if called as the plugin."""
    return "kubectl evr" if PurePath(argv0).name.startswith("kubectl-") else "evr"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments, program_name(sys.argv[0])))


_COMPLETION = "_EVR_COMPLETE"
"""Set by the shell function that `_EVR_COMPLETE=bash_source evr` prints."""
_LINE_MAX = 4096
"""Characters of one line of an error; a message longer than that was not written for people."""


def _harmless(error: Error) -> str:
    """Return the error's text with what a terminal would obey spelled out: names and values come from documents."""
    from evidencerun.bundle.escape import plain_text

    lines = (line for line in error.diagnostics().split("\n") if line.strip())
    return "\n".join(plain_text(line, at_most=_LINE_MAX) for line in lines)


def _advice(error: Error) -> str:
    """Return the next move where the place that raised the error cannot know it: the API server's refusals."""
    status = error.status if isinstance(error, ClusterError) else 0
    return _ADVICE.get(status, "")


_ADVICE = {
    401: "log in again, or choose another user with --context or --kubeconfig",
    403: "ask for the role evidence-viewer to look, evidence-runner to start runs, evidence-retriever to fetch bundles",
}


def run(arguments: Sequence[str], name: str = "evr") -> int:
    """Run the command line and return its exit code; every `Error` becomes text on standard error."""
    if _COMPLETION in os.environ:
        app.main(prog_name="evr")  # a shell asks for words to complete
    try:
        # Not `app.main`, which makes 1 of a pipe that broke.
        with app.make_context(name, list(arguments)) as context:
            result = app.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except Error as error:
        error.fix = error.fix or _advice(error)
        click.echo(_harmless(error), err=True)
        return exit_for_error(error)
    except BrokenPipeError:
        # The reader has gone (`evr … | head`). An answer that nobody heard is no yes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BROKEN_PIPE
    return int(result) if isinstance(result, int) else Exit.ACCEPTED
