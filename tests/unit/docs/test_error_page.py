# SPDX-License-Identifier: Apache-2.0
"""docs/errors.md is what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def generator(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("error_page", repository / "deploy/docs/errors.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_page_is_generated(generator: ModuleType, repository: Path):
    assert (repository / "docs/errors.md").read_bytes() == generator.page(), "run: make generate"


def test_every_code_in_the_code_stands_on_the_page(generator: ModuleType, repository: Path):
    page = generator.page().decode()
    used = {
        code
        for folder in ("pkg", "operator")
        for path in (repository / folder).rglob("*.py")
        for code in re.findall(r'"(E[1-7]\d{3})"', path.read_text(encoding="utf-8"))
    }
    listed = set(re.findall(r"^\| (E\d{4}) \|", page, re.MULTILINE))
    assert used <= listed


def test_sentences_are_read_with_their_fix(generator: ModuleType):
    source = 'raise InputError("E1999", f"the {name} is bad", where=place, fix="mend " + it)'
    assert generator.sayings(source) == [("E1999", "the … is bad", "mend …")]
