# SPDX-License-Identifier: Apache-2.0
"""What the commands `cluster` and `demo` tell people to type next."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import demo
import installation
import pytest
from evidencelocal import lifecycle, main, ownership, tools


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVIDENCERUN_CACHE", "EVIDENCERUN_STATE", "EVIDENCERUN_INSTANCE", "EVIDENCERUN_E2E_CLUSTER"):
        monkeypatch.delenv(name, raising=False)


def test_bringing_up_says_in_one_line_how_to_use_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line works as it is printed: it names the same cluster, wherever one stands."""
    monkeypatch.setattr(lifecycle, "up", lambda *_, **__: None)
    monkeypatch.setattr(ownership, "require", lambda *_, **__: None)
    monkeypatch.setattr(main.os, "geteuid", lambda: 0)
    monkeypatch.setattr(tools, "bin_dir", lambda _: Path("/programs"))
    monkeypatch.setenv("EVIDENCERUN_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(repository)
    assert main.main(["up"]) == 0
    shown = capsys.readouterr()
    assert f"export KUBECONFIG={tmp_path}/state/admin.kubeconfig" in shown.out
    assert f'eval "$(EVIDENCERUN_STATE={tmp_path}/state deploy/local/cluster env)"' in shown.err
    monkeypatch.chdir(tmp_path)
    assert main.main(["up"]) == 0
    assert f"{repository}/deploy/local/cluster env" in capsys.readouterr().err


def test_the_demo_names_the_cluster_that_it_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo.how_to_go_on()[0] == 'eval "$(deploy/local/cluster env)"'
    monkeypatch.setenv("EVIDENCERUN_INSTANCE", "4")
    monkeypatch.setenv("EVIDENCERUN_E2E_CLUSTER", "kind")
    assert demo.how_to_go_on()[:2] == ["export EVIDENCERUN_INSTANCE=4", 'eval "$(deploy/kind/cluster env)"']


def test_the_words_of_a_cluster_that_refuses_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "cluster"
    program.write_text("#!/bin/sh\necho exports\necho error: another checkout >&2\nexit 3\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setitem(installation.COMMANDS, "local", program)
    assert demo.main(["install"]) == 1
    shown = capfd.readouterr()
    assert "exports" not in shown.out
    assert re.search(r"error: another checkout\ndemo: exit code 3: .*cluster up --nodes", shown.err), shown.err


def test_the_demo_keeps_the_notes_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """They lead to quickstart.yaml, whose component has an image that these nodes cannot pull."""
    called: list[list[str]] = []
    monkeypatch.setattr(installation, "call", lambda words, **_: called.append([str(word) for word in words]))
    monkeypatch.setattr(installation, "values", dict)
    installation.install({})
    (helm,) = (words for words in called if words[0] == "helm")
    assert "--hide-notes" in helm


@pytest.mark.parametrize("target", ["demo", "install-local"])
@pytest.mark.parametrize(("code", "refused"), [(3, True), (1, False), (0, False)])
def test_whose_cluster_it_is_is_asked_before_anything_is_installed(
    repository: Path, tmp_path: Path, target: str, code: int, refused: bool
) -> None:
    program, python = tmp_path / "cluster", tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho states\necho error: another checkout >&2\nexit {code}\n", encoding="ascii")
    python.write_text("#!/bin/sh\necho installing >&2\nexit 1\n", encoding="ascii")
    for path in (program, python):
        path.chmod(0o755)
    words = ["make", target, f"CLUSTER_COMMAND={program}", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True)
    assert done.returncode
    assert done.stdout == ""
    assert ("error: another checkout" in done.stderr) == refused
    assert ("installing" in done.stderr) != refused


def test_help_names_every_command(repository: Path) -> None:
    done = subprocess.run([repository / "deploy/local/cluster", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--take-over" in subprocess.run(
        [repository / "deploy/local/cluster", "down", "--help"], capture_output=True, text=True
    ).stdout  # fmt: skip
