# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import jsonschema
import pytest

from evidencerun.bundle import layout
from evidencerun.bundle.verify_page import COMMANDS, verify_page
from evidencerun.cli.spec_files import spec_files
from evidencerun.errors import EvidenceError
from evidencerun.report.json_output import render_json
from evidencerun.report.schemas import schemas
from evidencerun.verify.run import refused, verify_bundle

NOW = datetime(2026, 9, 21, tzinfo=UTC)


@pytest.mark.parametrize("path", sorted(spec_files()))
def test_generated_documentation_is_up_to_date(repository, path):
    found = (repository / "docs" / path).read_bytes()
    assert found == spec_files()[path], "run: python -m evidencerun.cli.spec_files docs"


def test_nothing_else_generated_lies_beside_it(repository):
    present = {f"spec/{path.name}" for path in (repository / "docs/spec").glob("*.json")}
    assert present == {path for path in spec_files() if path.endswith(".json")}


def valid(name, document):
    schema = json.loads(schemas()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)


DOCUMENTS = {
    "run-record.v1.json": layout.RUN,
    "nodes.v1.json": layout.NODES,
    "manifest.v1.json": layout.MANIFEST,
    "ctrf-report.json": "ctrf/deployment.json",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_we_write_is_valid(sealed_bundle, name):
    valid(name, json.loads(sealed_bundle[DOCUMENTS[name]]))


def test_the_predicate_is_valid(sealed_bundle):
    valid("predicate.v3.json", json.loads(sealed_bundle[layout.STATEMENT])["predicate"])


def test_plan_policy_and_node_report_are_valid(composed_run):
    plan = json.loads(composed_run.plan().to_bytes())
    valid("plan.v1.json", plan)
    valid("policy.v1alpha1.json", plan["policySpec"])
    valid("node-report.v1.json", json.loads(composed_run.nodes_document().to_bytes())["nodes"][0]["report"])


def test_verification_reports_are_valid(sealed_bundle, signing_key):
    for report in (
        verify_bundle(sealed_bundle, now=NOW, key_pem=signing_key.pem),
        verify_bundle(sealed_bundle, now=NOW),
        refused(EvidenceError("E2001", "x")),
    ):
        valid("verification-report.v1.json", json.loads(render_json(report)))


def test_a_schema_refuses_what_the_reader_refuses(sealed_bundle):
    document = json.loads(sealed_bundle[layout.RUN]) | {"surprise": 1}
    with pytest.raises(jsonschema.ValidationError):
        valid("run-record.v1.json", document)


def test_the_page_in_the_bundle_and_the_documentation_hold_the_same_commands(repository, sealed_bundle):
    assert sealed_bundle[layout.VERIFY_PAGE] == verify_page()
    assert COMMANDS in verify_page().decode()
    assert COMMANDS in (repository / "docs/verify-without-us.md").read_text()


def test_the_specification_names_every_member_code_and_limit(repository):
    text = (repository / "docs/spec/README.md").read_text()
    for name in schemas():
        assert f"({name})" in text, name
    record = json.loads(schemas()["run-record.v1.json"])
    for member in record["properties"]:
        assert f"`{member}`" in text, member
    sources = "".join(
        path.read_text()
        for folder in ("attest", "bom", "bundle", "ctrf", "verify")
        for path in (repository / "pkg/evidencerun" / folder).glob("*.py")
    )
    for code in set(re.findall(r'"(E2\d{3})"', sources)):
        assert code in text, code
