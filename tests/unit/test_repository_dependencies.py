# SPDX-License-Identifier: Apache-2.0
"""Each dependency has its reason, and the images hold only what the lock file pins."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

IMAGE_LOCKS = ("requirements-evidencerun.txt", "requirements-probe.txt")


def direct(repository: Path) -> set[str]:
    """Names of all direct dependencies: run time, extras, development, building."""
    pyproject = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    listed = [*project["dependencies"], *pyproject["build-system"]["requires"]]
    for group in (*project["optional-dependencies"].values(), *pyproject["dependency-groups"].values()):
        listed.extend(group)
    return {canonicalize_name(Requirement(text).name) for text in listed}


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Name to (version, hashes) of a requirements file."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for entry in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==(\S+)(.*)", entry)
        assert match, f"{path.name}: not a pin with hashes: {entry!r}"
        name, version, rest = match.groups()
        found[canonicalize_name(name)] = (version, frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", rest)))
    return found


def test_every_dependency_has_its_reason(repository: Path) -> None:
    text = (repository / "docs/design/dependencies.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    reasons = {cells[1].strip(): cells[2].strip() for cells in rows if cells[1].strip() not in ("package", "---")}
    build_only = {"editables"}
    assert set(reasons) == direct(repository) | build_only
    assert all(reasons.values())


def test_lock_pins_every_dependency(repository: Path) -> None:
    lock = pins(repository / "requirements.lock")
    assert direct(repository) - {"hatchling"} <= lock.keys()
    assert {"hatchling", "editables"} <= pins(repository / "deploy/images/requirements-build.txt").keys()


@pytest.mark.parametrize("name", IMAGE_LOCKS)
def test_images_hold_what_the_lock_pins(repository: Path, name: str) -> None:
    lock = pins(repository / "requirements.lock")
    image = pins(repository / "deploy/images" / name)
    assert image
    different = {key for key in image if image[key] != lock.get(key)}
    assert not different, "fix: make lock"
    assert all(hashes for _, hashes in image.values())


def test_probe_image_has_no_kubernetes_client_and_no_server(repository: Path) -> None:
    image = pins(repository / "deploy/images/requirements-probe.txt")
    assert not {"kubernetes", "kopf", "aiohttp", "sigstore", "cryptography", "pip"} & image.keys()


def test_locks_are_installed_as_they_are(repository: Path) -> None:
    """pip before 23.3 resolves extras anew and refuses a complete lock as soon as a dependency has a newer release."""
    found = 0
    for name in ("Makefile", "deploy/images/Dockerfile", "deploy/images/Dockerfile.probe"):
        for line in (repository / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            if "--require-hashes" not in line:
                continue
            found += 1
            assert "--no-deps" in line, f"{name}: {line.strip()}"
    assert found == 3


def with_dependencies(names: set[str]) -> set[str]:
    """Return the names and all that they depend on, without extras."""
    found: set[str] = set()
    todo = set(names)
    while todo:
        name = todo.pop()
        found.add(name)
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                todo |= {canonicalize_name(needed.name)} - found
    return found


def test_a_plain_installation_has_what_the_command_line_imports(repository: Path) -> None:
    """`pip install evidencerun`, without extras, must do for every command; imports in functions count."""
    pyproject = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    base = {canonicalize_name(Requirement(text).name) for text in pyproject["project"]["dependencies"]}
    package = repository / "pkg/evidencerun"
    sources = [*package.glob("cli/*.py"), package / "kube/sync.py", package / "kube/answers.py"]
    modules: set[str] = set()
    for node in (node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.partition(".")[0])
    providers = metadata.packages_distributions()
    others = modules - sys.stdlib_module_names - {"evidencerun"}
    assert "kubernetes" in others
    needed = {canonicalize_name(providers[module][0]) for module in others}
    assert needed <= with_dependencies(base)
