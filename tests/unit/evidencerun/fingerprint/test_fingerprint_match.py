# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import fields
from itertools import product

import pytest

from evidencerun.fingerprint import Outcome, Overall, fingerprint
from evidencerun.fingerprint.match import RULES, DimensionMatch, MatchResult, overall_of
from evidencerun.fingerprint.model import Fingerprint
from evidencerun.recipe import Criteria
from evidencerun.snapshot.document import Snapshot

HIDDEN = {"intent", "platform"}
MEMBER_OF = {"nodes": "node_count"}


def test_every_field_of_the_criteria_has_a_fingerprint_member_and_a_rule():
    members = {field.name for field in fields(Fingerprint)}
    for field in fields(Criteria):
        assert field.name in RULES
        if field.name not in HIDDEN:
            assert MEMBER_OF.get(field.name, field.name) in members


def test_every_rule_looks_at_its_own_field(cluster):
    found = fingerprint(Snapshot())
    for name in RULES:
        criteria = Criteria(**{name: 3 if name == "nodes" else "something"})
        outcomes = {row.name: row.outcome for row in (rule(found, criteria) for rule in RULES.values())}
        asked = {each for each, outcome in outcomes.items() if outcome is not Outcome.NOT_ASKED}
        assert asked == {name}


def test_overall_over_the_whole_product():
    for outcomes in product(Outcome, repeat=len(RULES) - 2):
        asked = {each for each in outcomes if each not in (Outcome.NOT_ASKED, Outcome.NOT_OBSERVABLE)}
        overall = overall_of([*outcomes, Outcome.NOT_OBSERVABLE, Outcome.NOT_ASKED])
        assert (overall is Overall.MISMATCHED) is (Outcome.MISMATCHED in asked)
        assert (overall is Overall.NOT_ASKED) is (not asked)
        assert (overall is Overall.MATCHED) is (asked == {Outcome.MATCHED})
        assert (overall is Overall.UNPROVEN) is (Outcome.UNKNOWN in asked and Outcome.MISMATCHED not in asked)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("overall", Overall)
def test_aicrs_form(overall, outcome):
    row = DimensionMatch(name="service", recipe="eks", observed="eks", outcome=outcome, value="eks")
    document = MatchResult(overall=overall, dimensions=(row,)).aicr()
    assert document["matched"] is (overall in (Overall.MATCHED, Overall.NOT_ASKED))
    (written,) = document["perDimension"]
    assert written["match"] == {"not-asked": "matched", "not-observable": "unknown"}.get(outcome, outcome)
    assert ("recipeRequires" in written) is (outcome is not Outcome.NOT_ASKED)


def test_aicrs_form_of_an_empty_snapshot(cluster):
    wanted = cluster.recipe({"service": "eks", "accelerator": "h100", "intent": "training", "os": "ubuntu"})
    assert fingerprint(Snapshot()).match(wanted).aicr() == {
        "matched": False,
        "perDimension": [
            {"dimension": "service", "match": "unknown", "recipeRequires": "eks"},
            {"dimension": "accelerator", "match": "unknown", "recipeRequires": "h100"},
            {"dimension": "os", "match": "unknown", "recipeRequires": "ubuntu"},
            {"dimension": "intent", "match": "unknown", "recipeRequires": "training"},
            {"dimension": "platform", "match": "matched"},
            {"dimension": "nodes", "match": "matched"},
        ],
    }


def test_the_diff_holds_what_is_asked_and_not_matched(cluster):
    nodes = cluster.nodes(cluster.node(1))
    found = fingerprint(cluster.snapshot(nodes), nodes)
    result = found.match(cluster.recipe({"service": "eks", "accelerator": "h100", "os": "debian"}))
    assert [(row.name, row.outcome) for row in result.diff] == [
        ("service", Outcome.UNKNOWN),
        ("accelerator", Outcome.MISMATCHED),
    ]
    assert result.matched is result.overall is Overall.MISMATCHED


def test_words_are_compared_without_case_and_blanks(cluster):
    nodes = cluster.nodes(cluster.node(1))
    found = fingerprint(cluster.snapshot(nodes), nodes)
    assert RULES["os"](found, Criteria(os=" Debian ")).outcome is Outcome.MATCHED
    assert RULES["os"](found, Criteria(os="ANY")).outcome is Outcome.NOT_ASKED


def test_a_match_on_simulated_hardware_says_so(cluster):
    nodes = cluster.nodes(cluster.node(1, pci=cluster.gpus("2330"), markers=["M4: the library is a mock"]))
    result = fingerprint(cluster.snapshot(nodes), nodes).match(cluster.recipe({"accelerator": "h100"}))
    assert result.overall is Overall.MATCHED
    assert result.synthetic
    assert result.to_dict()["synthetic"] is True
    assert result.describe() == "matched (synthetic)"
    other = fingerprint(cluster.snapshot(nodes), nodes).match(cluster.recipe({"accelerator": "b200"}))
    assert other.describe() == "mismatched"


def test_towards_aicr_simulated_hardware_matches_nothing(cluster):
    nodes = cluster.nodes(cluster.node(1, pci=cluster.gpus("2330"), markers=["M4: the library is a mock"]))
    found = fingerprint(cluster.snapshot(nodes), nodes)
    result = found.match(cluster.recipe({"accelerator": "h100", "os": "ubuntu"}))
    assert result.aicr()["matched"] is False
    rows = {row["dimension"]: row["match"] for row in result.aicr()["perDimension"]}
    assert (rows["accelerator"], rows["os"], rows["nodes"]) == ("unknown", "mismatched", "matched")
    assert found.aicr_members()["accelerator"] == {"value": "h100", "source": "pci.device", "note": "synthetic"}
    assert found.match(cluster.recipe({"accelerator": "h100"})).aicr()["matched"] is False
    assert found.match(cluster.recipe()).aicr()["matched"] is True
