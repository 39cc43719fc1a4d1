# SPDX-License-Identifier: Apache-2.0
"""Whatever a signer puts into the documents, the answer is a report and never an exception.

EVIDENCERUN_TEST_ROUNDS (`make test-long` sets it) says how many changes are tried per document.
"""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime

import pytest

from evidencerun.attest.statement import signed_payload, unsigned_statement
from evidencerun.bundle import layout
from evidencerun.bundle.manifest import build_manifest
from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import InputError
from evidencerun.report.json_output import render_json
from evidencerun.report.text import render
from evidencerun.verify.result import Outcome
from evidencerun.verify.run import verify_bundle

NOW = datetime(2026, 9, 21, tzinfo=UTC)
ROUNDS = int(os.environ.get("EVIDENCERUN_TEST_ROUNDS", "40"))
VALUES = [
    None, True, 0, -1, 1, 2**53, 2**70, 1.5, 1e308, "", "x", "\x1b[2J", "é" * 5000, "sha256:" + "0" * 64, [], {}, [[]],
    [None], {"a": {}}, "2026-13-45T99:99:99Z", "https://evidencerun.dev/schemas/run-record/v1",
]  # fmt: skip


def places(value, place=()):
    yield place
    if isinstance(value, dict):
        for key, member in value.items():
            yield from places(member, (*place, key))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from places(member, (*place, number))


def changed(document, place, action, value):
    if not place:
        return value
    *parents, last = place
    target = document
    for step in parents:
        target = target[step]
    if action == "remove":
        del target[last]
    elif action == "twice" and isinstance(target, list):
        target.append(target[last])
    elif action == "rename" and isinstance(target, dict):
        target["zz"] = target.pop(last)
    else:
        target[last] = value
    return document


def resigned(files, key):
    files[layout.MANIFEST] = build_manifest(files)
    predicate = json.loads(files[layout.STATEMENT])["predicate"]
    predicate["manifest"] |= {"digest": sha256_prefixed(files[layout.MANIFEST])}
    predicate["bom"]["digest"] = sha256_prefixed(files[layout.BOM])
    predicate["phases"]["deployment"]["ctrfDigest"] = sha256_prefixed(files[layout.ctrf_path("deployment")])
    files[layout.STATEMENT] = layout.document_bytes(unsigned_statement(predicate))
    return {**files, layout.ATTESTATION: key.sign(signed_payload(files, "sha256:" + "a" * 64))}


@pytest.mark.parametrize("path", [layout.RUN, layout.NODES, layout.BOM, "ctrf/deployment.json"])
def test_changed_documents_give_an_answer(sealed_bundle, signing_key, path):
    chance = random.Random(path)
    everywhere = list(places(json.loads(sealed_bundle[path])))
    answers = set()
    for _ in range(ROUNDS):
        place, action = chance.choice(everywhere), chance.choice(["set", "set", "remove", "twice", "rename"])
        document = changed(json.loads(sealed_bundle[path]), place, action, chance.choice(VALUES))
        files = {name: data for name, data in sealed_bundle.items() if name != layout.ATTESTATION}
        files[path] = json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
        report = verify_bundle(resigned(files, signing_key), now=NOW, key_pem=signing_key.pem, max_age=1e9)
        render(report)
        render_json(report)
        answers.add(report.exit_code)
    assert Outcome.INVALID in answers


@pytest.mark.parametrize("member", ["predicate", "subject", "predicateType"])
def test_changed_statements_give_an_answer(sealed_bundle, signing_key, member):
    chance = random.Random(member)
    statement = json.loads(sealed_bundle[layout.STATEMENT])
    everywhere = [(member, *place) for place in places(statement[member])]
    for _ in range(ROUNDS):
        place, action = chance.choice(everywhere), chance.choice(["set", "remove", "twice", "rename"])
        document = changed(json.loads(sealed_bundle[layout.STATEMENT]), place, action, chance.choice(VALUES))
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
        files = {**sealed_bundle, layout.STATEMENT: text}
        assert verify_bundle(files, now=NOW, key_pem=signing_key.pem).exit_code in (0, Outcome.INVALID)
        try:
            files[layout.ATTESTATION] = signing_key.sign(json.dumps(document).encode())
        except InputError:
            continue
        assert verify_bundle(files, now=NOW, key_pem=signing_key.pem).exit_code == Outcome.INVALID


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"{" * 100_000,
        b'{"a":' * 5000,
        b"null",
        b"1",
        b"\xef\xbb\xbf{}",
        b'{"a":1,"a":2}',
        b"NaN",
    ],
)
@pytest.mark.parametrize(
    "path", [layout.RUN, layout.NODES, layout.BOM, layout.SNAPSHOT, layout.RECIPE, "ctrf/deployment.json"]
)
def test_nonsense_gives_an_answer(sealed_bundle, signing_key, path, data):
    files = {name: content for name, content in sealed_bundle.items() if name != layout.ATTESTATION}
    files[path] = data
    report = verify_bundle(resigned(files, signing_key), now=NOW, key_pem=signing_key.pem)
    assert report.exit_code == Outcome.INVALID


@pytest.mark.parametrize("path", [layout.MANIFEST, layout.STATEMENT, layout.ATTESTATION])
@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"null", b'{"files":[]}', b"{}"])
def test_nonsense_beside_the_inventory_gives_an_answer(sealed_bundle, signing_key, path, data):
    report = verify_bundle({**sealed_bundle, path: data}, now=NOW, key_pem=signing_key.pem)
    assert report.exit_code == Outcome.INVALID
