# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from evidencerun.bundle import layout
from evidencerun.bundle.manifest import build_manifest, check_inventory, load_manifest
from evidencerun.errors import EvidenceError

FILES = {
    "recipe.yaml": b"a: 1\n",
    "bom.cdx.json": b"{}",
    "ctrf/deployment.json": b"{}",
    "VERIFY.md": b"# x\n",
    "l.log": b"",
}
EXEMPT = {layout.MANIFEST: b"m", layout.STATEMENT: b"s", layout.ATTESTATION: b"a"}


def test_the_form_is_aicrs():
    text = build_manifest({**FILES, **EXEMPT}).decode()
    document = json.loads(text)
    assert text.startswith('{\n  "schemaVersion": "1.0.0",\n  "files": [\n    {\n      "path": "VERIFY.md",\n')
    assert text.endswith("}\n")
    assert [entry["path"] for entry in document["files"]] == sorted(FILES)
    kinds = {entry["path"]: entry.get("mediaType") for entry in document["files"]}
    assert kinds == {
        "VERIFY.md": None,
        "bom.cdx.json": "application/vnd.cyclonedx+json",
        "ctrf/deployment.json": "application/json",
        "l.log": "text/plain",
        "recipe.yaml": "application/yaml",
    }


def test_what_was_inventoried_is_accepted():
    check_inventory({**FILES, **EXEMPT}, load_manifest(build_manifest(FILES)))


def test_a_path_that_no_reader_accepts_is_not_inventoried():
    with pytest.raises(ValueError, match="cannot stand"):
        build_manifest({**FILES, "../x": b""})


def entry(path, **changes):
    return {"path": path, "size": 0, "sha256": "sha256:" + "0" * 64, **changes}


DEFECTS = {
    "unsorted": [entry("recipe.yaml"), entry("a")],
    "twice": [entry("recipe.yaml"), entry("recipe.yaml")],
    "differing_in_case": [entry("A"), entry("a"), entry("recipe.yaml")],
    "differing_in_case_from_what_is_not_listed": [entry("Manifest.JSON"), entry("recipe.yaml")],
    "file_and_folder": [entry("logs"), entry("logs/a.log"), entry("recipe.yaml")],
    "file_and_folder_in_another_case": [entry("Logs"), entry("logs/b/a.log"), entry("recipe.yaml")],
    "no_recipe": [entry("a")],
    "empty": [],
    "parent_folder": [entry("../a"), entry("recipe.yaml")],
    "absolute": [entry("/a"), entry("recipe.yaml")],
    "lists_itself": [entry("manifest.json"), entry("recipe.yaml")],
    "bare_digest": [entry("recipe.yaml", sha256="0" * 64)],
    "negative_size": [entry("recipe.yaml", size=-1)],
    "size_as_text": [entry("recipe.yaml", size="0")],
    "size_as_fraction": [entry("recipe.yaml", size=0.0)],
    "unknown_member": [entry("recipe.yaml", mode=420)],
    "no_list": {},
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_defective_manifests_are_refused(defect):
    data = json.dumps({"schemaVersion": "1.0.0", "files": DEFECTS[defect]}).encode()
    with pytest.raises(EvidenceError) as caught:
        load_manifest(data)
    assert caught.value.code == "E2002"


@pytest.mark.parametrize("version", ["2.0.0", "1.1", "1.0.0.0", "1.0.x", "", 1])
def test_other_schema_versions_are_refused(version):
    data = json.dumps({"schemaVersion": version, "files": [entry("recipe.yaml")]}).encode()
    with pytest.raises(EvidenceError):
        load_manifest(data)


@pytest.mark.parametrize("version", ["1.0", "1.0.7"])
def test_earlier_spellings_of_the_version_are_read(version):
    data = json.dumps({"schemaVersion": version, "files": [entry("recipe.yaml")]}).encode()
    assert load_manifest(data).schemaVersion == version
