# SPDX-License-Identifier: Apache-2.0
"""Bundles that AICR's tool writes: all three versions of the predicate, read with every digest confirmed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from evidencerun.bundle import layout
from evidencerun.bundle.manifest import build_manifest
from evidencerun.canonical import RecipePredicate, canonical_recipe_digest, sha256_hex, sha256_prefixed
from evidencerun.errors import EvidenceError
from evidencerun.report.contents import render_contents
from evidencerun.report.text import render
from evidencerun.verify.duties import verify_unsigned
from evidencerun.verify.result import Outcome
from evidencerun.verify.run import verify_bundle

NOW = datetime(2026, 9, 21, tzinfo=UTC)
RECIPE = b"""apiVersion: aicr.run/v1
componentRefs:
    - chart: gpu-operator
      name: gpu-operator
      type: Helm
criteria:
    accelerator: h100
    service: eks
kind: RecipeResult
metadata:
    appliedOverlays:
        - base
    version: v0.22.0
"""
CTRF = {
    "reportFormat": "CTRF", "specVersion": "0.0.1", "timestamp": "2026-09-20T10:00:00Z", "generatedBy": "aicr",
    "results": {
        "tool": {"name": "aicr", "version": "v0.22.0"},
        "summary": {
            "tests": 2, "passed": 1, "failed": 0, "skipped": 0, "pending": 0, "other": 1, "start": 1, "stop": 2,
        },
        "tests": [{"name": "a", "status": "passed", "duration": 1}, {"name": "b", "status": "other", "duration": 1}],
    },
}  # fmt: skip
BOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "components": [{"type": "application", "name": "x"}],
}


def composed(version, **changes):
    """Return an unsigned bundle in AICR's form; `changes` go into the predicate."""
    files = {
        layout.RECIPE: RECIPE,
        layout.SNAPSHOT: b"measurements: []\n",
        layout.BOM: json.dumps(BOM).encode(),
        "ctrf/deployment.json": json.dumps(CTRF).encode(),
    }
    files[layout.MANIFEST] = build_manifest(files)
    digest = canonical_recipe_digest(RECIPE, RecipePredicate(version))
    predicate = {
        "schemaVersion": "1.0.0",
        "attestedAt": "2026-09-20T10:11:12Z",
        "aicrVersion": "v0.22.0",
        "validatorCatalogVersion": "",
        "validatorImages": [{"image": "example.com/v:1", "digest": ""}],
        "recipe": {"name": "h100-eks", "digest": digest},
        "fingerprint": {"service": {"value": "eks"}},
        "criteriaMatch": {"matched": True, "perDimension": []},
        "phases": {
            "deployment": {
                "passed": 1.0, "failed": 0, "skipped": 0, "ctrfDigest": sha256_prefixed(files["ctrf/deployment.json"])
            }
        },
        "bom": {"format": "CycloneDX", "version": "1.6", "digest": sha256_prefixed(files[layout.BOM]), "imageCount": 1},
        "manifest": {"digest": sha256_prefixed(files[layout.MANIFEST]), "fileCount": 4},
        "newerMember": {"is": "left alone"},
    }  # fmt: skip
    if version == "v2":
        predicate["profile"] = {"selection": "gpuStack=gcp-managed", "policyDescriptorIdentity": "x"}
    predicate |= changes
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "recipe:h100-eks", "digest": {"sha256": digest}}],
        "predicateType": f"https://aicr.run/recipe-evidence/{version}",
        "predicate": {key: value for key, value in predicate.items() if value is not None},
    }
    return {**files, layout.STATEMENT: json.dumps(statement).encode()}


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_all_versions_are_read_and_nothing_more_is_claimed(version):
    files = composed(version)
    duties = verify_unsigned(files)
    assert duties.record is None
    assert duties.not_derived == ("fingerprint", "criteria match", "declared checks", "verdict")
    report = verify_bundle(files, now=NOW)
    assert report.exit_code == Outcome.UNSIGNED
    assert "no run record is among them" in render(report)


def test_the_recipe_digest_depends_on_the_version():
    digests = {json.loads(composed(v)[layout.STATEMENT])["predicate"]["recipe"]["digest"] for v in ("v1", "v3")}
    assert len(digests) == 2


DEFECTS = {
    "v1 with a profile": ("v1", {"profile": {"selection": "a=b", "policyDescriptorIdentity": "x"}}),
    "v2 without a profile": ("v2", {"profile": None}),
    "profile of another form": ("v3", {"profile": {"selection": "ab", "policyDescriptorIdentity": "x"}}),
    "other schema version": ("v3", {"schemaVersion": "2.0.0"}),
    "recipe digest with a prefix": ("v3", {"recipe": {"name": "h100-eks", "digest": "sha256:" + "0" * 64}}),
    "other recipe name": (
        "v3",
        {"recipe": {"name": "h200-eks", "digest": canonical_recipe_digest(RECIPE, RecipePredicate.V3)}},
    ),
    "other manifest": ("v3", {"manifest": {"digest": "sha256:" + "0" * 64, "fileCount": 4}}),
    "other file count": (
        "v3",
        {"manifest": {"digest": sha256_prefixed(composed("v3")[layout.MANIFEST]), "fileCount": 5}},
    ),
    "no phases": ("v3", {"phases": {}}),
    "no bom": ("v3", {"bom": None}),
    "matched is text": ("v3", {"criteriaMatch": {"matched": "surely", "perDimension": []}}),
    "says it is ours": ("v3", {"aicrVersion": "evidencerun/0.1.0"}),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_breaks_the_predicate_is_refused(defect):
    version, changes = DEFECTS[defect]
    with pytest.raises(EvidenceError):
        verify_unsigned(composed(version, **changes))


def test_an_unknown_predicate_type_is_refused():
    files = composed("v3")
    old = files[layout.STATEMENT].replace(b"aicr.run/recipe-evidence/v3", b"aicr.nvidia.com/recipe-evidence/v1")
    with pytest.raises(EvidenceError, match="not a statement"):
        verify_unsigned({**files, layout.STATEMENT: old})


def test_the_real_bundle(test_data):
    root = next((test_data / "aicr/newer-2026-09/tests").glob("**/summary-bundle"))
    files = {path.name: path.read_bytes() for path in root.iterdir()}
    duties = verify_unsigned(files)
    assert duties.inventory_digest.startswith("sha256:87ed4634")
    assert {file.path: file.sha256[7:15] for file in duties.manifest.files} == {
        "bom.cdx.json": "089fde36", "recipe.yaml": "5aa0caf5", "snapshot.yaml": "8076987a",
    }  # fmt: skip
    assert duties.statement.version is RecipePredicate.V1
    assert duties.statement.subjects == {"recipe:h100-eks-ubuntu-training": sha256_hex(files[layout.RECIPE])}
    assert verify_bundle(files, now=NOW).exit_code == Outcome.UNSIGNED
    assert "NOT JUDGED" in render_contents(files)
    for path in files:
        for place in range(0, len(files[path]), 7):
            data = files[path]
            changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            found = verify_bundle({**files, path: changed}, now=NOW).exit_code
            # The unsigned statement's own times and texts are bound by nothing in a bundle that nobody signed.
            assert found == Outcome.INVALID or path == layout.STATEMENT, (path, place)
