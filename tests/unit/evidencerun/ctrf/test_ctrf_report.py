# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.ctrf.report import CtrfTest, CtrfTool, counts, load_ctrf, write_ctrf
from evidencerun.errors import EvidenceError
from evidencerun.validation.storeapi import CheckStatus

TOOL = CtrfTool(name="evidencerun", version="0.1.0")


def written(*statuses):
    tests = [CtrfTest(name=f"t{number}", status=status) for number, status in enumerate(statuses)]
    return write_ctrf(tests, tool=TOOL, timestamp="2026-09-20T10:00:00Z", start=1, stop=2, environment={"a": "b"})


@given(st.lists(st.sampled_from(list(CheckStatus)), max_size=20))
def test_what_is_written_is_read_and_counted(statuses):
    report = load_ctrf(written(*statuses), where="x")
    found = counts(report.results.tests)
    assert found.tests == len(statuses) == found.passed + found.skipped + found.not_passed
    assert [test.status for test in report.results.tests] == statuses


def test_the_form_is_aicrs():
    text = written("passed", "other").decode()
    assert text.startswith('{\n  "reportFormat": "CTRF",\n  "specVersion": "0.0.1",\n')
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document["results"]["summary"] == {
        "tests": 2, "passed": 1, "failed": 0, "skipped": 0, "pending": 0, "other": 1, "start": 1, "stop": 2,
    }  # fmt: skip
    assert "message" not in document["results"]["tests"][0]


def changed(change):
    document = json.loads(written("passed", "failed"))
    change(document)
    return json.dumps(document).encode()


DEFECTS = {
    "summary passed": lambda d: d["results"]["summary"].update(passed=2),
    "summary tests": lambda d: d["results"]["summary"].update(tests=5),
    "summary other": lambda d: d["results"]["summary"].update(other=1),
    "negative": lambda d: d["results"]["summary"].update(passed=-1),
    "unknown status": lambda d: d["results"]["tests"][0].update(status="green"),
    "no name": lambda d: d["results"]["tests"][0].pop("name"),
    "same name twice": lambda d: d["results"]["tests"][1].update(name="t0"),
    "other format": lambda d: d.update(reportFormat="JUnit"),
    "no results": lambda d: d.pop("results"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_report_that_contradicts_itself_is_refused(defect):
    with pytest.raises(EvidenceError) as caught:
        load_ctrf(changed(DEFECTS[defect]), where="ctrf/deployment.json")
    assert caught.value.code in ("E2030", "E2031")
    assert caught.value.where.startswith("ctrf/deployment.json")


def test_a_suite_may_be_text_or_list():
    data = changed(lambda d: d["results"]["tests"][0].update(suite="deployment"))
    assert load_ctrf(data, where="x").results.tests[0].suite == ["deployment"]


def test_real_reports(test_data):
    newer = test_data / "aicr/newer-2026-09"
    good = next(newer.glob("pkg/corroborate/**/conformance.json"))
    assert load_ctrf(good.read_bytes(), where=good.name).results.tests
