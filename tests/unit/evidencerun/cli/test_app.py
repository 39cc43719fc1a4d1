# SPDX-License-Identifier: Apache-2.0
"""The frame of the command line: lazy commands, exit codes, errors as text."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from evidencerun.cli import app, exits
from evidencerun.errors import ClusterError, EvidenceError, InputError, StoreError
from evidencerun.kube.base import http_fault
from evidencerun.validation.storeapi import Verdict

HEAVY = ("kubernetes", "sigstore", "aiohttp", "kopf", "pydantic", "rich", "cryptography")


def test_every_command_exists_and_has_help():
    for name, (place, summary) in app.COMMANDS.items():
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), name
        assert command.help, name
        assert summary.endswith("."), name


def test_help_imports_nothing_heavy():
    code = f"""
import sys
from evidencerun.cli.app import run
assert run(["--help"]) == 0
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


@pytest.mark.parametrize("command", ["verify", "show", "recipe", "fingerprint", "match"])
def test_offline_commands_load_no_cluster_client(command: str):
    code = f"""
import sys
from evidencerun.cli.app import run
assert run([{command!r}, "--help"]) == 0
loaded = [name for name in ("kubernetes", "sigstore", "aiohttp", "kopf") if name in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_every_code_is_explained(capsys: pytest.CaptureFixture[str]):
    assert app.run(["help", "exit-codes"]) == 0
    printed = capsys.readouterr().out
    assert set(exits.MEANINGS) == set(exits.Exit)
    for code in exits.Exit:
        assert f"{int(code):>4}  {code.name}" in printed
    assert "a run with failed and with unfinished checks is 11, although its verdict is ChecksFailed" in printed


def test_no_advice_is_empty_or_says_that_there_is_none():
    assert all(len(meaning.advice) > 3 and meaning.advice != "nothing" for meaning in exits.MEANINGS.values())


def test_the_exit_codes_of_the_readme_are_those_of_the_program(repository: Path):
    text = " ".join((repository / "README.md").read_text(encoding="utf-8").split())
    said = dict(re.findall(r"(\d+) (accepted|checks failed|incomplete|another cluster|do not believe)", text))
    codes = {0: "accepted", 10: "checks failed", 11: "incomplete", 14: "another cluster", 20: "do not believe"}
    assert said == {str(code): words for code, words in codes.items()}
    names = {exits.Exit(code).name for code in codes}
    assert names == {"ACCEPTED", "CHECKS_FAILED", "INCOMPLETE", "MISMATCH", "INVALID"}


def test_every_command_stands_in_one_section_of_the_help(capsys: pytest.CaptureFixture[str]):
    assert app.run(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split()[0] for line in lines if re.match(r"  [a-z]+ {2,}[A-Z]", line)]
    assert shown == list(app.COMMANDS)


@pytest.mark.parametrize(
    ("words", "begin"),
    [((), "Usage: evr [OPTIONS]"), (("pull",), "Usage: evr pull"), (("recipe", "lint"), "Usage: evr recipe lint")],
)
def test_help_of_a_command_by_name(words: tuple[str, ...], begin: str, capsys: pytest.CaptureFixture[str]):
    assert app.run(["help", *words]) == 0
    assert capsys.readouterr().out.startswith(begin)


@pytest.mark.parametrize("words", [("bogus",), ("recipe", "bogus"), ("exit-codes", "more")])
def test_help_of_what_is_not_there_is_a_usage_error(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert app.run(["help", *words]) == 2
    assert f"nothing to explain about '{' '.join(words)}'" in capsys.readouterr().err


def every_command(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, *path, name)


def test_every_option_of_every_command_is_explained():
    for path, command in every_command(app.app):
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or getattr(parameter, "help", ""), (path, parameter.name)


def test_short_help_is_not_cut(capsys: pytest.CaptureFixture[str]):
    assert app.run(["recipe", "--help"]) == 0
    (_, commands) = capsys.readouterr().out.split("Commands:")
    assert "..." not in commands


def test_output_that_nobody_reads_to_its_end_is_no_success():
    command = f"set -o pipefail; {sys.executable} -c 'from evidencerun.cli.app import main; main()' help exit-codes"
    done = subprocess.run(["bash", "-c", f"{command} | true"], capture_output=True, text=True, check=False)
    assert done.returncode == exits.Exit.BROKEN_PIPE
    assert "Traceback" not in done.stderr


def test_a_shell_is_told_the_words_to_complete():
    environment = {**os.environ, "_EVR_COMPLETE": "bash_complete", "COMP_WORDS": "evr st", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from evidencerun.cli.app import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "plain,status\n"


@pytest.mark.parametrize(("status", "words"), [(401, "log in again"), (403, "evidence-runner")])
def test_a_refusal_of_the_api_server_says_whom_to_ask(status: int, words: str, monkeypatch, capsys):
    def refuse(*_: object, **__: object) -> None:
        raise http_fault(status=status, reason="", message="said the API\n", where="GET runs")

    monkeypatch.setattr(app.app, "invoke", refuse)
    assert app.run(["status"]) == exits.Exit.FORBIDDEN
    shown = capsys.readouterr().err
    assert "cause: said the API\n  fix:" in shown, "no blank line"
    assert words in shown


def test_every_verdict_has_a_code():
    assert set(exits.VERDICT_EXITS) == {str(verdict) for verdict in Verdict}


def test_only_good_verdicts_exit_with_zero():
    good = {verdict for verdict, code in exits.VERDICT_EXITS.items() if code == 0}
    assert good == {"Passed", "FingerprintOnly"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("E1001", "x"), 2),
        (EvidenceError("E2001", "x"), 20),
        (StoreError("E3001", "x"), 30),
        (ClusterError("E3004", "x", status=403), 41),
    ],
)
def test_errors_choose_the_code_by_fault(error, code):
    assert exits.exit_for_error(error) == code


def test_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert app.run(["bogus"]) == 2
    assert "bogus" in capsys.readouterr().err


def test_plugin_name_is_used_in_help():
    assert app.program_name("/usr/bin/kubectl-evr") == "kubectl evr"
    assert app.program_name("/usr/bin/evr") == "evr"
