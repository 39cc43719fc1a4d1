# SPDX-License-Identifier: Apache-2.0
"""CTRF reports of checks whose words may not be published: a closed word of theirs, or ours, stands in their place."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from composed_run import attempt, catalog

from evidencerun.bundle.assemble import assemble

FOREIGN = "registry.example/validator@sha256:" + "9" * 64


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        (b'##AICR-EXTRA## {"skipReason": "no-gpu-nodes"}\n', "skipped: no-gpu-nodes"),
        (b'##AICR-EXTRA## {"skipReason": "my own words"}\n', "skipped with exit code 2"),
        (b"", "skipped with exit code 2"),
    ],
)
def test_a_foreign_check_that_skips_itself_says_why_by_its_own_word_or_not_at_all(composed_run, printed, message):
    entries = [catalog("expected-resources"), catalog("node-agreement", image=FOREIGN)]
    skipped = attempt("node-agreement", status="skipped", reason="stated", message="my own words", log=printed)
    assert skipped.ending is not None
    ending = skipped.ending.model_copy(update={"image": FOREIGN, "image_id": FOREIGN})
    run = composed_run.with_changes(
        policy={"catalog": entries},
        checks=tuple({"name": entry["name"], "phase": entry["phase"], "entry": entry} for entry in entries),
        attempts=(attempt("expected-resources"), replace(skipped, ending=ending)),
    )
    document = json.loads(assemble(run.inputs()).files["ctrf/deployment.json"])
    (test,) = (test for test in document["results"]["tests"] if test["name"] == "node-agreement")
    assert (test["status"], test["message"]) == ("skipped", message)
