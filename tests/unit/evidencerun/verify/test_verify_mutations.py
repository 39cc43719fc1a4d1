# SPDX-License-Identifier: Apache-2.0
"""Any byte changed in any file of a sealed bundle is refused with exit code 20."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from evidencerun.attest.keys import load_public_key
from evidencerun.bundle import layout
from evidencerun.bundle.manifest import check_inventory, load_manifest
from evidencerun.errors import EvidenceError
from evidencerun.verify.duties import verify_unsigned
from evidencerun.verify.result import Outcome
from evidencerun.verify.run import verify_bundle
from evidencerun.verify.signature import Signed, check_payload, read_signature

NOW = datetime(2026, 9, 21, tzinfo=UTC)


def judged(files, key):
    return verify_bundle(files, now=NOW, key_pem=key.pem)


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def test_the_unchanged_bundle_is_accepted(sealed_bundle, signing_key):
    assert judged(sealed_bundle, signing_key).exit_code == Outcome.ACCEPTED


def test_every_byte_of_the_attestation_counts(sealed_bundle, signing_key):
    data = sealed_bundle[layout.ATTESTATION]
    for place in range(len(data)):
        changed = flipped(data, place, place % 8)
        report = judged({**sealed_bundle, layout.ATTESTATION: changed}, signing_key)
        # White space between JSON tokens is the one thing that may differ.
        assert report.exit_code == Outcome.INVALID or changed[place : place + 1].isspace(), place


@pytest.mark.parametrize("path", [layout.MANIFEST, layout.STATEMENT])
def test_every_byte_of_manifest_and_statement_counts(sealed_bundle, signing_key, path):
    signed = read_signature(sealed_bundle, load_public_key(signing_key.pem))
    assert isinstance(signed, Signed)
    check_payload(sealed_bundle, signed)
    data = sealed_bundle[path]
    for place in range(len(data)):
        with pytest.raises(EvidenceError):
            _binding(sealed_bundle | {path: flipped(data, place, place % 8)}, signed)


def _binding(files, signed):
    """Do what verify_bundle does after the signature: payload against files, then everything else."""
    check_payload(files, signed)
    verify_unsigned(files)


@pytest.mark.parametrize("path", [layout.MANIFEST, layout.STATEMENT])
def test_a_changed_manifest_or_statement_ends_with_exit_code_20(sealed_bundle, signing_key, path):
    for place in range(0, len(sealed_bundle[path]), 41):
        files = sealed_bundle | {path: flipped(sealed_bundle[path], place, 0)}
        assert judged(files, signing_key).exit_code == Outcome.INVALID


def test_every_byte_of_every_inventoried_file_counts(sealed_bundle):
    manifest = load_manifest(sealed_bundle[layout.MANIFEST])
    check_inventory(sealed_bundle, manifest)
    inventoried = sorted(sealed_bundle.keys() - layout.NOT_INVENTORIED)
    assert len(inventoried) == 8
    for path in inventoried:
        data = sealed_bundle[path]
        for place in range(len(data)):
            with pytest.raises(EvidenceError, match="differs from the manifest"):
                check_inventory({path: flipped(data, place, place % 8)}, _only(manifest, path))


def _only(manifest, path):
    return manifest.model_copy(update={"files": [file for file in manifest.files if file.path == path]})


def test_a_changed_inventoried_file_ends_with_exit_code_20(sealed_bundle, signing_key):
    for path in sorted(sealed_bundle.keys() - layout.NOT_INVENTORIED):
        changed = flipped(sealed_bundle[path], len(sealed_bundle[path]) // 2, 1)
        report = judged({**sealed_bundle, path: changed}, signing_key)
        assert (report.exit_code, report.questions[0].code) == (Outcome.INVALID, "E2003"), path


def _attestation(sealed_bundle):
    return json.loads(sealed_bundle[layout.ATTESTATION])


def _with(sealed_bundle, document, **options):
    return {**sealed_bundle, layout.ATTESTATION: json.dumps(document, **options).encode()}


@pytest.mark.parametrize(
    "place",
    [
        ("dsseEnvelope", "payload"),
        ("dsseEnvelope", "signatures", 0, "sig"),
        ("verificationMaterial", "publicKey", "hint"),
    ],
)
def test_every_decoded_byte_of_payload_signature_and_hint_counts(sealed_bundle, signing_key, place):
    raw = base64.b64decode(_at(_attestation(sealed_bundle), place))
    for index in range(len(raw)):
        document = _attestation(sealed_bundle)
        _at(document, place[:-1])[place[-1]] = base64.b64encode(flipped(raw, index, index % 8)).decode()
        assert judged(_with(sealed_bundle, document), signing_key).exit_code == Outcome.INVALID


def _at(document, place):
    for step in place:
        document = document[step]
    return document


def test_white_space_of_the_attestation_is_free(sealed_bundle, signing_key):
    files = _with(sealed_bundle, _attestation(sealed_bundle), indent=4)
    assert judged(files, signing_key).exit_code == Outcome.ACCEPTED


def test_another_spelling_of_the_same_statement_is_refused(sealed_bundle, signing_key):
    statement = json.loads(sealed_bundle[layout.STATEMENT])
    files = {**sealed_bundle, layout.STATEMENT: json.dumps(statement).encode()}
    assert judged(files, signing_key).exit_code == Outcome.INVALID


@pytest.mark.parametrize("path", ["extra.txt", ".hidden", "logs/deployment/x.1.log", "ctrf/performance.json"])
def test_a_file_that_the_manifest_does_not_list_is_refused(sealed_bundle, signing_key, path):
    report = judged({**sealed_bundle, path: b"{}"}, signing_key)
    assert (report.exit_code, report.questions[0].code) == (Outcome.INVALID, "E2005")


def test_a_missing_file_is_refused(sealed_bundle, signing_key):
    for path in sealed_bundle.keys() - {layout.ATTESTATION}:
        rest = {name: data for name, data in sealed_bundle.items() if name != path}
        report = judged(rest, signing_key)
        assert (report.exit_code, report.questions[0].code) == (Outcome.INVALID, "E2004"), path
