# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from composed_run import RECIPE

from evidencerun.bundle import layout
from evidencerun.bundle.archive import write_archive
from evidencerun.cli.app import run
from evidencerun.cli.exits import Exit
from evidencerun.verify.result import Outcome


@pytest.fixture
def place(tmp_path, sealed_bundle, signing_key):
    """A folder with bundle/, bundle.tar.gz, evidence.pub and recipe.yaml."""
    for path, data in sealed_bundle.items():
        target = tmp_path / "bundle" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (tmp_path / "bundle.tar.gz").write_bytes(write_archive(sealed_bundle, 0))
    (tmp_path / "evidence.pub").write_bytes(signing_key.pem)
    (tmp_path / "recipe.yaml").write_bytes(RECIPE)
    return tmp_path


@pytest.mark.parametrize("name", ["bundle", "bundle.tar.gz", "."])
def test_an_accepted_bundle_in_every_form(place, capsys, name):
    code = run(["verify", str(place / name), "--key", str(place / "evidence.pub")])
    assert code == Exit.ACCEPTED
    assert capsys.readouterr().out.startswith("ACCEPTED (exit 0)")


def test_without_a_key(place, capsys):
    assert run(["verify", str(place / "bundle.tar.gz")]) == Exit.UNTRUSTED_SIGNER
    assert "--key" in capsys.readouterr().out


def test_json(place, capsys):
    arguments = ["--key", str(place / "evidence.pub"), "--recipe", str(place / "recipe.yaml"), "-o", "json"]
    assert run(["verify", str(place / "bundle"), *arguments]) == Exit.ACCEPTED
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "https://evidencerun.dev/schemas/verification-report/v1"
    assert [question["answer"] for question in report["questions"]][:3] == ["yes", "yes", "yes"]


def test_age_is_asked_with_a_duration(place):
    arguments = ["verify", str(place / "bundle"), "--key", str(place / "evidence.pub"), "--max-age"]
    assert run([*arguments, "1ms"]) == Exit.STALE
    assert run([*arguments, "soon"]) == Exit.USAGE


def test_a_changed_archive_is_invalid_and_says_so_in_json_too(place, capsys):
    (place / "bundle.tar.gz").write_bytes(b"no archive")
    assert run(["verify", str(place / "bundle.tar.gz"), "-o", "json"]) == Exit.INVALID
    report = json.loads(capsys.readouterr().out)
    assert (report["exitCode"], report["questions"][0]["code"]) == (20, "E2001")


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.tar.gz"],
        ["bundle", "--key", "missing.pub"],
        ["bundle", "--key", "recipe.yaml"],
        ["bundle", "--recipe", "missing.yaml"],
        ["bundle", "--recipe", "evidence.pub"],
        ["empty"],
    ],
)
def test_what_the_caller_gave_wrongly_is_a_wrong_call(place, arguments, capsys):
    (place / "empty").mkdir()
    given = [argument if argument.startswith("--") else str(place / argument) for argument in arguments]
    assert run(["verify", *given]) == Exit.USAGE
    assert capsys.readouterr().err.startswith("E")


def test_links_and_special_files_in_a_directory_are_refused(place):
    for make in (
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to(place, target_is_directory=True),
        os.mkfifo,
    ):
        odd = place / "bundle" / "odd"
        make(odd)
        assert run(["verify", str(place / "bundle"), "--key", str(place / "evidence.pub")]) == Exit.INVALID
        odd.unlink()
    recipe = place / "bundle" / layout.RECIPE
    recipe.unlink()
    recipe.symlink_to(place / "recipe.yaml")
    assert run(["verify", str(place / "bundle"), "--key", str(place / "evidence.pub")]) == Exit.INVALID


def test_a_directory_without_end_is_refused(place, monkeypatch):
    monkeypatch.chdir(place / "bundle")
    for _ in range(300):
        Path("d").mkdir()
        os.chdir("d")
    assert run(["verify", str(place / "bundle"), "--key", str(place / "evidence.pub")]) == Exit.INVALID


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_path_that_no_file_system_takes_is_a_wrong_call(command, capsys):
    assert run([command, "a" * 5000]) == Exit.USAGE
    assert capsys.readouterr().err.startswith("E2091")


@pytest.mark.parametrize("member", ["\x1b[2J", "\x9b2J", "\u202eDETPECCA"])
def test_errors_about_a_document_reach_the_terminal_harmless(place, capsys, member):
    path = place / "bundle" / layout.RUN
    path.write_text(json.dumps(json.loads(path.read_text()) | {member: 1}))
    assert run(["show", str(place / "bundle")]) == Exit.INVALID
    assert all(char == "\n" or char.isprintable() for char in capsys.readouterr().err)


def test_show_prints_the_state_of_a_straggler_harmless(place, capsys):
    path = place / "bundle" / layout.RUN
    record = json.loads(path.read_text())
    record["nodes"]["stragglers"] = [{"name": "\x1b[2J", "state": "\x1b[2J", "reason": "\x1b[2J"}]
    path.write_text(json.dumps(record))
    assert run(["show", str(place / "bundle")]) == Exit.ACCEPTED
    assert all(char == "\n" or char.isprintable() for char in capsys.readouterr().out)


def test_outcomes_are_exit_codes():
    assert {outcome.name: int(outcome) for outcome in Outcome}.items() <= {e.name: int(e) for e in Exit}.items()


def test_show_says_that_it_does_not_judge(place, capsys):
    (place / "bundle" / layout.MANIFEST).write_bytes(b"{}")
    assert run(["show", str(place / "bundle")]) == Exit.ACCEPTED
    out = capsys.readouterr().out
    assert out.startswith("NOT JUDGED: ")
    assert "accelerator   none" in out
    assert "Verdict     Passed" in out


def test_show_as_json(place, capsys):
    assert run(["show", str(place / "bundle.tar.gz"), "-o", "json"]) == Exit.ACCEPTED
    document = json.loads(capsys.readouterr().out)
    assert document["judged"] is False
    assert document["run"]["verdict"] == "Passed"


def test_show_of_what_cannot_be_read(place):
    (place / "bundle" / layout.STATEMENT).write_bytes(b"[]")
    assert run(["show", str(place / "bundle")]) == Exit.INVALID
