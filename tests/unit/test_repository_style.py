# SPDX-License-Identifier: Apache-2.0
"""House rules that no linter knows: licence headers, sizes, and words that have no place in the repository."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE_LINES = 500
FUNCTION_LINES = 80
POSITIONAL = 5
HEADER = "SPDX-License-Identifier: Apache-2.0"
SOURCES = {".py", ".sh", ".go", ".yaml", ".yml", ".tpl", ".toml", ".c"}
SOURCE_NAMES = {"Makefile", "Dockerfile", "Dockerfile.probe", "run", "cluster", "tools"}
EXAMPLE_FOLDERS = {"vectors", "golden", "fixtures", "testdata", "bad"}
"""Inputs of tests, some of which must have exactly the bytes they have."""


def _forbidden() -> dict[str, re.Pattern[str]]:
    """Patterns are put together here, so that this file does not hold what it forbids."""
    folders = "|".join(("wo" + "rk", "ro" + "ot", "fa" + "rm"))
    hosts = "|".join(
        rf"{name}\.{end}"
        for name, end in (
            ("py" + "pi", "org"),
            ("pythonhos" + "ted", "org"),
            ("registry.npm" + "js", "org"),
            ("proxy.go" + "lang", "org"),
            ("sum.go" + "lang", "org"),
            ("deb.deb" + "ian", "org"),
        )
    )
    marks = "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3))
    return {
        "a path of one machine": re.compile(rf"(?<![\w./<>*$}}\-])/(?:{folders})/[A-Za-z.]"),
        "a package registry's host": re.compile(hosts),
        "a mark of unfinished work": re.compile(rf"\b(?:{marks})\b"),
    }


def _files(repository: Path) -> list[Path]:
    command = ["git", "-C", str(repository), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [path for name in names if name and (path := repository / name).is_file()]


def _sources(repository: Path) -> list[Path]:
    found = [
        path
        for path in _files(repository)
        if (path.suffix in SOURCES or path.name in SOURCE_NAMES)
        and not EXAMPLE_FOLDERS & set(path.relative_to(repository).parts)
    ]
    assert len(found) > 50, "the list of sources is suspiciously short"
    return found


def _python(repository: Path) -> list[Path]:
    return [path for path in _sources(repository) if path.suffix == ".py"]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return len([name for name in names if name not in ("self", "cls")])


def test_every_source_names_its_licence(repository: Path) -> None:
    def named(path: Path) -> bool:
        lines = path.read_text(encoding="utf-8").splitlines()
        first = lines[1:2] if lines and lines[0].startswith("#!") else lines[:1]
        return bool(first) and HEADER in first[0]

    empty = {path for path in _sources(repository) if not path.stat().st_size}
    assert not [str(path) for path in _sources(repository) if path not in empty and not named(path)]
    assert not [str(path) for path in empty]


def test_modules_are_short(repository: Path) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _python(repository)}
    assert not {str(path): lines for path, lines in lengths.items() if lines > MODULE_LINES}


def test_functions_are_short(repository: Path) -> None:
    long = [
        f"{path}:{function.lineno} {function.name}: {lines} lines"
        for path in _python(repository)
        for function in _functions(path)
        if (lines := (function.end_lineno or function.lineno) - function.lineno + 1) > FUNCTION_LINES
    ]
    assert not long


def test_functions_take_few_positional_parameters(repository: Path) -> None:
    wide = [
        f"{path}:{function.lineno} {function.name}: {_positional(function)}"
        for path in _python(repository)
        if "tests" not in path.relative_to(repository).parts
        for function in _functions(path)
        if _positional(function) > POSITIONAL
    ]
    assert not wide


@pytest.mark.parametrize("name", _forbidden())
def test_text_is_free_of(repository: Path, name: str) -> None:
    pattern = _forbidden()[name]
    found = []
    for path in _files(repository):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    assert not found


@pytest.mark.parametrize("folder", ["pkg", "operator"])
def test_source_roots_are_no_packages(repository: Path, folder: str) -> None:
    assert not (repository / folder / "__init__.py").exists(), "it would shadow a module of Python itself"


def test_test_folders_are_no_packages(repository: Path) -> None:
    assert not list((repository / "tests").rglob("__init__.py"))
