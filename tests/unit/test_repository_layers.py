# SPDX-License-Identifier: Apache-2.0
"""The layers hold, and a forbidden import is found: one is planted for each contract in a copy of the packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLANTS = {
    "a lower layer imports a higher one": (
        "pkg/evidencerun/canonical/planted.py",
        "import evidencerun.verify\n",
        "layers: programs over adapters over the pure core",
    ),
    "a program imports another": (
        "pkg/evidencerun/store/planted.py",
        "import evidencerun.sealer\n",
        "layers: programs over adapters over the pure core",
    ),
    "the library imports the operator": (
        "pkg/evidencerun/cli/planted.py",
        "import evidencerun_operator\n",
        "layers: programs over adapters over the pure core",
    ),
    "the pure core opens a connection": (
        "pkg/evidencerun/bundle/planted.py",
        "def fetch() -> None:\n    import httpx\n    httpx.get('x')\n",
        "the pure core does no I/O",
    ),
    "kopf outside its two modules": (
        "operator/evidencerun_operator/planted.py",
        "import kopf\n",
        "kopf stays in two modules",
    ),
    "a Kubernetes client outside its adapter": (
        "pkg/evidencerun/checks/planted.py",
        "import kubernetes\n",
        "vendor libraries stay in their one adapter",
    ),
}


@pytest.fixture(scope="module")
def copied(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of both source roots with the contracts."""
    root = tmp_path_factory.mktemp("layers")
    for folder in ("pkg", "operator"):
        shutil.copytree(repository / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", root)
    return root


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages below `root`, not on those that are installed."""
    roots = os.pathsep.join(str(root / folder) for folder in ("pkg", "operator"))
    command = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--no-cache",
        "--config",
        str(root / "pyproject.toml"),
    ]
    environment = os.environ | {"PYTHONPATH": roots}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def illegal(output: str) -> set[tuple[str, str]]:
    """(contract, importing module) of every breach that the report lists."""
    found, contract = set(), ""
    lines = output.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if following and set(following) == {"-"} and len(following) == len(line):
            contract = line
        elif match := re.match(r"-?\s+([\w.]+) -> [\w.]+ \(l\.", line):
            found.add((contract, match[1]))
    return found


def test_the_layers_hold(copied: Path) -> None:
    done = lint(copied)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


def test_every_planted_import_is_found(copied: Path) -> None:
    expected = set()
    for number, (place, text, contract) in enumerate(PLANTS.values()):
        planted = (copied / place).with_stem(f"planted{number}")
        planted.write_text(text, encoding="utf-8")
        module = planted.relative_to(copied).with_suffix("").as_posix().split("/", 1)[1].replace("/", ".")
        expected.add((contract, module))
    done = lint(copied)
    assert done.returncode == 1, done.stdout + done.stderr
    assert illegal(done.stdout) == expected
