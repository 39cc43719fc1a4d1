# SPDX-License-Identifier: Apache-2.0
"""docs/library.md: its code runs as it stands there, and the names that it promises are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from composed_run import RECIPE, ComposedRun, SigningKey
from cryptography.hazmat.primitives.asymmetric import ec

from evidencerun.attest.statement import signed_payload
from evidencerun.bundle import layout, write_archive
from evidencerun.bundle.assemble import assemble

PUBLIC = ("verify", "bundle", "recipe", "fingerprint", "constraint", "canonical")


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/library.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the files that the page speaks of."""
    key = SigningKey(private=ec.generate_private_key(ec.SECP256R1()))
    bundle = assemble(ComposedRun().inputs())
    signature = key.sign(signed_payload(bundle.files, bundle.manifest_digest))
    (tmp_path / "bundle.tar.gz").write_bytes(write_archive({**bundle.files, layout.ATTESTATION: signature}, 0))
    (tmp_path / "evidence.pub").write_bytes(key.pem)
    (tmp_path / "recipe.yaml").write_bytes(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def snippets(page: str) -> str:
    found = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(found) == 4
    return "\n".join(found)


def test_the_code_of_the_page_runs_and_accepts_the_bundle(
    page: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {}
    # The run of the tests has a fixed date, and the page asks that it be recent.
    exec(snippets(page).replace("datetime.now(UTC)", "datetime(2026, 9, 21, tzinfo=UTC)"), names)
    assert capsys.readouterr().out.startswith("E2001 ")
    assert names["findings"] == []


def test_the_code_of_the_page_ends_where_the_bundle_is_not_accepted(page: str, folder: Path) -> None:
    other = SigningKey(private=ec.generate_private_key(ec.SECP256R1()))
    (folder / "evidence.pub").write_bytes(other.pem)
    with pytest.raises(SystemExit, match="not accepted"):
        exec(snippets(page), {})


@pytest.mark.parametrize("name", PUBLIC)
def test_what_a_package_offers_is_there(name: str) -> None:
    package = importlib.import_module(f"evidencerun.{name}")
    assert package.__all__
    assert [found for found in package.__all__ if not hasattr(package, found)] == []


def test_the_page_promises_names_that_are_offered(page: str) -> None:
    rows = dict(re.findall(r"^\| `(evidencerun\.\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert set(rows) == {f"evidencerun.{name}" for name in (*PUBLIC, "errors")}
    missing = [
        f"{package}.{name}"
        for package, names in rows.items()
        for name in re.findall(r"`(\w+)`", names)
        if not hasattr(importlib.import_module(package), name)
    ]
    assert missing == []
    for package in ("evidencerun.verify", "evidencerun.bundle"):
        assert set(re.findall(r"`(\w+)`", rows[package])) == set(importlib.import_module(package).__all__)
