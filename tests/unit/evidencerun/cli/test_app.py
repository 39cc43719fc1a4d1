# SPDX-License-Identifier: Apache-2.0
"""The frame of the command line: lazy commands, exit codes, errors as text."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest

from evidencerun.cli import app, exits
from evidencerun.errors import ClusterError, EvidenceError, InputError, StoreError
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
