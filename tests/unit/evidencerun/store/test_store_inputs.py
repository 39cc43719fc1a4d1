# SPDX-License-Identifier: Apache-2.0
"""What a check is given is what the run was judged by, and what the bundle holds."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from store_samples import RECIPE, report

from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive
from evidencerun.recipe import load_recipe, validation_input
from evidencerun.snapshot.read import load_snapshot
from evidencerun.store.evaluating import INPUT_FILES

UID = "0a1b2c3d-0000-4000-8000-000000000001"
CHECK = "node-agreement"


async def _inputs(rig: Any) -> dict[str, bytes]:
    await rig.send_report(1)
    await rig.ok("POST", f"/v1/runs/{UID}/evaluate", token=rig.api.operator_token(), json_body={})
    await rig.attempt("created")
    rig.api.add_pod(CHECK, 1)
    token = rig.api.check_token(CHECK, 1)
    found = {name: await rig.call("GET", f"/v1/runs/{UID}/inputs/{name}", token=token) for name in INPUT_FILES}
    assert {status for status, _, _ in found.values()} == {200}
    return {name: body for name, (_, body, _) in found.items()}


async def _bundle(rig: Any) -> dict[str, bytes]:
    await rig.ok("POST", f"/v1/runs/{UID}/seal", token=rig.api.operator_token(), json_body={"reason": "cancelled"})
    return read_archive((rig.service.runs.get(UID).folder.bundle / "layer").read_bytes())


async def test_without_redaction_checks_see_the_very_bytes_of_the_bundle(rig: Any) -> None:
    await rig.create(policy={"redaction": "none"})
    inputs, files = await _inputs(rig), await _bundle(rig)
    for name in (layout.SNAPSHOT, layout.NODES, layout.RECIPE):
        assert inputs[name] == files[name], name


async def test_with_redaction_they_differ_in_identifiers_alone(rig: Any) -> None:
    await rig.create()
    inputs, files = await _inputs(rig), await _bundle(rig)
    seen, published = load_snapshot(inputs[layout.SNAPSHOT]), load_snapshot(files[layout.SNAPSHOT])
    assert seen.stored_fingerprint is not None
    assert seen.stored_fingerprint == published.stored_fingerprint
    assert seen.metadata == published.metadata
    name = re.compile(rb"node-1\b")  # a replaced name begins alike
    assert name.search(inputs[layout.NODES])
    assert not name.search(files[layout.SNAPSHOT] + files[layout.NODES])


async def test_the_operator_is_told_what_the_bundle_will_say(rig: Any) -> None:
    await rig.create()
    await _inputs(rig)
    told = (await rig.view())["evaluation"]
    run = json.loads((await _bundle(rig))[layout.RUN])
    assert told["takenAt"] == run["seal"]["takenAt"]
    assert told["overall"] == run["match"]["overall"]
    assert told["markers"] == run["trust"]["markers"]
    assert (told["reported"], told["missing"]) == (run["nodes"]["reported"], run["nodes"]["missing"])
    assert told["coverageMet"] == run["nodes"]["coverageMet"]


async def test_the_validation_input_is_spelled_as_the_recipe_is(rig: Any) -> None:
    text = RECIPE.replace(b"    namespace: evidence-demo\n", b"    namespace: evidence-demo\n    version: 24.10\n", 1)
    recipe = load_recipe(text)
    more = {"recipe": base64.b64encode(text).decode(), "recipeDigest": recipe.digest}
    await rig.create(spec={"recipe": {"inline": text.decode()}}, **more)
    found = (await _inputs(rig))["validation.yaml"]
    assert b"version: 24.10\n" in found
    assert found == validation_input(recipe)


async def test_what_comes_after_the_evaluation_changes_no_value_and_is_disclosed(rig: Any) -> None:
    await rig.create(policy={"redaction": "none"})
    inputs = await _inputs(rig)
    assert (await rig.send_report(2))[0] == 201
    assert (await rig.send_report(1, report(1, markers=["M1"])))[0] == 200
    files = await _bundle(rig)
    run = json.loads(files[layout.RUN])
    assert files[layout.SNAPSHOT] == inputs[layout.SNAPSHOT]
    assert (run["nodes"]["reported"], run["nodes"]["missing"], run["nodes"]["conflictingReports"]) == (1, 1, 1)
    assert run["nodes"]["stragglers"][0]["reason"].startswith("its report came after the evaluation")
    assert run["trust"]["markers"] == []


async def test_a_match_of_simulated_hardware_is_told_as_one(rig: Any) -> None:
    await rig.create()
    for number in (1, 2):
        await rig.send_report(number, report(number, markers=["M1"]))
    await rig.ok("POST", f"/v1/runs/{UID}/evaluate", token=rig.api.operator_token(), json_body={})
    found = (await rig.view())["evaluation"]
    assert found["overall"].endswith(" (synthetic)")
    assert found["markers"] == ["M1"]
