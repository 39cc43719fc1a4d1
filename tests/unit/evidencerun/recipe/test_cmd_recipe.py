# SPDX-License-Identifier: Apache-2.0
"""`evr recipe`: lines, exit codes, and what it must not import."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evidencerun.canonical import canonical_yaml
from evidencerun.cli.app import run

RECIPE = b"kind: RecipeResult\napiVersion: aicr.run/v1\nmetadata: {version: v1}\ncriteria: {service: eks} # x\n"
STRIPPED = b"apiVersion: aicr.run/v1\ncriteria: {service: eks}\nkind: RecipeResult\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_bytes(RECIPE)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"a: 1\nb: 2\na: 3\n")
    return path


def test_digest_prints_lines_like_sha256sum(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "digest", str(good), str(good)]) == 0
    assert capsys.readouterr().out == f"{sha256(STRIPPED)}  {good}\n" * 2


@pytest.mark.parametrize("predicate", ["v1", "v2"])
def test_digest_by_the_older_rules(good: Path, predicate: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "digest", "--predicate", predicate, str(good)]) == 0
    assert capsys.readouterr().out == f"{sha256(RECIPE)}  {good}\n"


def test_a_refused_file_gives_one_line_and_the_others_are_printed(
    good: Path, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = good.parent / "missing.yaml"

    assert run(["recipe", "digest", str(bad), str(missing), str(good)]) == 2

    printed = capsys.readouterr()
    assert printed.out == f"{sha256(STRIPPED)}  {good}\n"
    first, second = printed.err.splitlines()
    assert first.startswith(f"{bad}: E1109 line 3, column 1: the recipe has the key 'a' twice")
    assert second == f"{missing}: cannot be read (No such file or directory)"


def test_canonical_writes_the_bytes(good: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["recipe", "canonical", str(good)]) == 0
    assert capfdbinary.readouterr().out == canonical_yaml(RECIPE)


def test_canonical_of_a_refused_document_writes_nothing(bad: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["recipe", "canonical", str(bad)]) == 2

    printed = capfdbinary.readouterr()
    assert printed.out == b""
    assert printed.err.startswith(f"{bad}: E1109 line 3, column 1: ".encode())
    assert printed.err.count(b"\n") == 1


def test_canonical_digests(good: Path, bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "canonical", "--sha256", str(bad), str(good)]) == 2
    assert capsys.readouterr().out == f"{sha256(canonical_yaml(RECIPE))}  {good}\n"


def test_canonical_of_several_files_needs_sha256(good: Path) -> None:
    assert run(["recipe", "canonical", str(good), str(good)]) == 2


def test_a_file_beyond_the_limit_is_refused_and_not_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "long.yaml"
    path.write_bytes(b"a: 1\n" + b"#" * (1 << 20))

    assert run(["recipe", "canonical", "--sha256", str(path)]) == 2
    assert "E1101" in capsys.readouterr().err


def test_lint_notes_give_0_and_errors_give_2(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "lint", str(good)]) == 0
    assert capsys.readouterr().out.startswith(f"{good}: validation: note: no phase declares a check")

    good.write_bytes(RECIPE + b"constraints: [{name: os.release.ID, value: ubuntu}]\n")
    assert run(["recipe", "lint", str(good)]) == 2
    assert "did you mean OS.release.ID? [unknown-path]" in capsys.readouterr().out


def test_lint_refuses_what_is_no_recipe(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "lint", str(bad)]) == 2
    assert "E1109" in capsys.readouterr().err


def test_neither_kubernetes_nor_sigstore_is_imported(good: Path) -> None:
    program = (
        "import sys\nfrom evidencerun.cli.app import run\n"
        f"for command in ('digest', 'canonical', 'lint'): run(['recipe', command, {str(good)!r}])\n"
        "print(sorted({'kubernetes', 'sigstore', 'aiohttp', 'kopf', 'pydantic'} & set(sys.modules)))\n"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.splitlines()[-1] == "[]"


HEAD = b"apiVersion: aicr.run/v1\nkind: RecipeResult\n"


@pytest.mark.parametrize(
    "text",
    [
        b'"\\e]0;owned\\a": 1\n',
        b'componentRefs: [{name: "\\e[2J\\r\\u202E", type: Helm}]\n',
        b'"chek\\es": 1\n"kindd\\e": 1\n',
    ],
)
def test_names_in_a_recipe_move_no_cursor(text: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(HEAD + text)
    run(["recipe", "lint", str(path)])
    printed = capsys.readouterr()
    assert "\\u{1b}" in printed.out + printed.err
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", printed.out + printed.err)
