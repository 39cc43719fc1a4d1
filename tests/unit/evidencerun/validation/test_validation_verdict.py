# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.fingerprint import Overall
from evidencerun.recipe import load_recipe
from evidencerun.validation.plan import PlannedCheck
from evidencerun.validation.spec import CatalogEntry
from evidencerun.validation.storeapi import AttemptState, AttemptView, CheckStatus, SealReason, Verdict
from evidencerun.validation.verdict import (
    CheckRecord,
    VerdictInputs,
    count_checks,
    coverage_met,
    decide_verdict,
    derive_checks,
    empty_phases,
    incomplete_reasons,
    left_out,
)

PASSED = CheckRecord(name="a", phase="deployment", status=CheckStatus.PASSED, executed=True, attempts=1)
SKIPPED = replace(PASSED, name="b", status=CheckStatus.SKIPPED, reason="stated")
FAILED = replace(PASSED, name="c", status=CheckStatus.FAILED)
OTHER = replace(PASSED, name="d", status=CheckStatus.OTHER, reason="oom-killed")
PENDING = replace(PASSED, name="e", status=CheckStatus.PENDING, executed=False, attempts=0)
GOOD = VerdictInputs(
    seal_reason=SealReason.FINISHED,
    checks=(PASSED,),
    overall=Overall.MATCHED,
    ready=True,
    coverage_met=True,
)


@dataclass
class Planned:
    checks: list[PlannedCheck]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "Passed"),
        ({"overall": Overall.NOT_ASKED}, "Passed"),
        ({"checks": (PASSED, SKIPPED)}, "Passed"),
        ({"rejected": True}, "Rejected"),
        ({"seal_reason": SealReason.CANCELLED}, "Cancelled"),
        ({"seal_reason": SealReason.ERROR}, "Error"),
        ({"seal_reason": SealReason.NOT_READY}, "NotReady"),
        ({"ready": False}, "NotReady"),
        ({"overall": Overall.MISMATCHED}, "Mismatched"),
        ({"checks": (PASSED, FAILED)}, "ChecksFailed"),
        ({"checks": (OTHER, FAILED)}, "ChecksFailed"),
        ({"checks": ()}, "Incomplete"),
        ({"checks": (SKIPPED,)}, "Incomplete"),
        ({"checks": (PASSED, OTHER)}, "Incomplete"),
        ({"checks": (PASSED, PENDING)}, "Incomplete"),
        ({"checks": (PASSED, replace(SKIPPED, mandatory=True))}, "Incomplete"),
        ({"checks": (PASSED, replace(SKIPPED, reason="excluded"))}, "Incomplete"),
        ({"checks": (PASSED, replace(OTHER, reason="not-in-catalog"))}, "Incomplete"),
        ({"checks": (PASSED, replace(OTHER, reason="not-run"))}, "Incomplete"),
        ({"narrowed": ("deployment/x",)}, "Incomplete"),
        ({"empty": ("phase conformance of the recipe declares no check",)}, "Incomplete"),
        ({"coverage_met": False}, "Incomplete"),
        ({"overall": Overall.UNPROVEN}, "Incomplete"),
        ({"overall": None, "ready": None}, "Incomplete"),
        ({"seal_reason": SealReason.DEADLINE}, "Incomplete"),
        ({"fingerprint_only": True}, "FingerprintOnly"),
        ({"fingerprint_only": True, "checks": ()}, "FingerprintOnly"),
        ({"fingerprint_only": True, "narrowed": ("deployment/x",)}, "FingerprintOnly"),
        ({"fingerprint_only": True, "checks": (replace(OTHER, reason="not-run"),)}, "FingerprintOnly"),
        ({"fingerprint_only": True, "coverage_met": False}, "Incomplete"),
        ({"fingerprint_only": True, "overall": Overall.UNPROVEN}, "Incomplete"),
        ({"fingerprint_only": True, "overall": Overall.MISMATCHED}, "Mismatched"),
        ({"fingerprint_only": True, "seal_reason": SealReason.DEADLINE}, "Incomplete"),
    ],
)
def test_every_rule(change, verdict):
    assert decide_verdict(replace(GOOD, **change)) == verdict


RECORDS = st.builds(
    CheckRecord,
    name=st.sampled_from("abc"),
    phase=st.just("deployment"),
    status=st.sampled_from(CheckStatus),
    reason=st.sampled_from(["", "stated", "excluded", "oom-killed", "not-in-catalog"]),
    mandatory=st.booleans(),
    executed=st.booleans(),
    attempts=st.integers(0, 3),
)
INPUTS = st.builds(
    VerdictInputs,
    seal_reason=st.sampled_from(SealReason),
    checks=st.lists(RECORDS, max_size=4).map(tuple),
    overall=st.none() | st.sampled_from(Overall),
    ready=st.none() | st.booleans(),
    coverage_met=st.booleans(),
    narrowed=st.sampled_from([(), ("deployment/x",)]),
    empty=st.sampled_from([(), ("phase conformance of the recipe declares no check",)]),
    fingerprint_only=st.booleans(),
    rejected=st.booleans(),
)


@given(INPUTS)
def test_the_first_that_applies(inputs):
    """Each verdict, on its own, from the words of the design; the first in the order of the enum is the answer."""
    failed = any(check.status is CheckStatus.FAILED for check in inputs.checks)
    applies = {
        Verdict.REJECTED: inputs.rejected,
        Verdict.CANCELLED: inputs.seal_reason is SealReason.CANCELLED,
        Verdict.ERROR: inputs.seal_reason is SealReason.ERROR,
        Verdict.NOT_READY: inputs.ready is False or inputs.seal_reason is SealReason.NOT_READY,
        Verdict.MISMATCHED: inputs.overall is Overall.MISMATCHED,
        Verdict.CHECKS_FAILED: failed,
        Verdict.INCOMPLETE: bool(incomplete_reasons(inputs)),
        Verdict.FINGERPRINT_ONLY: inputs.fingerprint_only,
        Verdict.PASSED: True,
    }
    assert decide_verdict(inputs) is next(verdict for verdict in Verdict if applies[verdict])


@given(INPUTS)
def test_nothing_passes_by_doing_nothing(inputs):
    verdict = decide_verdict(inputs)
    if verdict in (Verdict.PASSED, Verdict.FINGERPRINT_ONLY):
        assert inputs.seal_reason is SealReason.FINISHED
        assert inputs.coverage_met
        assert inputs.ready is True
        assert inputs.overall in (Overall.MATCHED, Overall.NOT_ASKED)
    if verdict is Verdict.PASSED:
        statuses = {check.status for check in inputs.checks}
        assert CheckStatus.PASSED in statuses
        assert statuses <= {CheckStatus.PASSED, CheckStatus.SKIPPED}
        assert not any(check.mandatory for check in inputs.checks if check.status is CheckStatus.SKIPPED)
        assert not inputs.narrowed
        assert not inputs.empty


@given(st.lists(RECORDS, max_size=8))
def test_counts_add_up(records):
    counts = count_checks(records)
    assert counts.declared == len(records)
    assert counts.passed + counts.failed + counts.skipped + counts.other == counts.declared
    assert counts.executed == sum(record.executed for record in records)
    assert counts.attempts == sum(record.attempts for record in records)


@pytest.mark.parametrize(
    ("reported", "targeted", "minimum", "met"),
    [
        (3, 3, 100, True),
        (2, 3, 100, False),
        (95, 100, 95, True),
        (94, 100, 95, False),
        (0, 0, 1, False),
        (0, 3, 1, False),
    ],
)
def test_coverage(reported, targeted, minimum, met):
    assert coverage_met(reported=reported, targeted=targeted, minimum_percent=minimum) is met


def planned(name: str, *, catalogued: bool = True, excluded: bool = False, mandatory: bool = False) -> PlannedCheck:
    entry = CatalogEntry(name=name, phase="deployment", image="i@sha256:0", mandatory=mandatory) if catalogued else None
    return PlannedCheck(name=name, phase="deployment", entry=entry, excluded=excluded)


def attempt(name: str, number: int, status: str, reason: str = "", *, started: bool = True) -> AttemptView:
    return AttemptView(
        check=name,
        phase="deployment",
        attempt=number,
        job_name="j",
        state=AttemptState.ENDED,
        status=CheckStatus(status),
        reason=reason,
        started=started,
    )


@pytest.mark.parametrize(
    ("check", "attempts", "status", "reason", "executed"),
    [
        (planned("a"), [attempt("a", 1, "passed")], "passed", "", True),
        (planned("a"), [attempt("a", 2, "passed"), attempt("a", 1, "failed")], "passed", "", True),
        (planned("a"), [attempt("a", 1, "passed"), attempt("a", 2, "failed")], "failed", "", True),
        (planned("a"), [attempt("a", 1, "other", "image-pull", started=False)], "other", "image-pull", False),
        (planned("a"), [attempt("a", 1, "other", "node-lost", started=False)], "other", "node-lost", False),
        (planned("a"), [attempt("a", 1, "other", "run-ended", started=False)], "other", "run-ended", False),
        (planned("a"), [attempt("a", 1, "other", "node-lost")], "other", "node-lost", True),
        (planned("a"), [attempt("a", 1, "other", "oom-killed")], "other", "oom-killed", True),
        (planned("a"), [attempt("a", 1, "pending", started=False)], "other", "no-ending", False),
        (
            planned("a"),
            [attempt("a", 1, "failed"), attempt("a", 2, "other", "unschedulable", started=False)],
            "other",
            "unschedulable",
            True,
        ),
        (planned("a"), [], "other", "not-run", False),
        (planned("a", catalogued=False), [], "other", "not-in-catalog", False),
        (planned("a", excluded=True), [], "skipped", "excluded", False),
        (planned("a", excluded=True, catalogued=False), [], "skipped", "excluded", False),
        (planned("a"), [attempt("b", 1, "passed")], "other", "not-run", False),
    ],
)
def test_every_planned_check_gets_a_record(check, attempts, status, reason, executed):
    (record,) = derive_checks(Planned([check]), attempts)
    assert (record.status, record.reason, record.executed) == (status, reason, executed)
    assert record.attempts == sum(each.check == check.name for each in attempts)


def test_before_the_end_a_check_without_attempt_is_pending():
    (record,) = derive_checks(Planned([planned("a", mandatory=True)]), [], ended=False)
    assert (record.status, record.mandatory) == (CheckStatus.PENDING, True)


@pytest.mark.parametrize(
    ("checks", "missing"),
    [
        ([planned("a"), planned("b")], ()),
        ([planned("a"), planned("b"), planned("more")], ()),
        ([planned("a"), planned("b", catalogued=False)], ()),
        ([planned("a"), planned("b", excluded=True)], ("deployment/b",)),
        ([planned("a")], ("deployment/b",)),
        ([], ("deployment/a", "deployment/b")),
    ],
)
def test_narrowing_is_seen_against_the_recipe_itself_and_named(cluster, checks, missing):
    recipe = cluster.recipe(checks={"deployment": ["a", "b"]})
    assert left_out(Planned(checks), recipe) == missing
    reasons = incomplete_reasons(replace(GOOD, narrowed=missing))
    assert all(name in reasons[0] for name in missing)


def test_a_recipe_without_checks_is_not_narrowed_and_does_not_pass(cluster):
    assert not left_out(Planned([]), cluster.recipe())
    assert decide_verdict(replace(GOOD, checks=derive_checks(Planned([]), []))) is Verdict.INCOMPLETE


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        ("    deployment: {checks: [a]}", []),
        ("    readiness: {constraints: [{name: OS.release.ID, value: ubuntu}]}\n    deployment: {checks: [a]}", []),
        (
            "    deployment: {checks: [a]}\n    conformance: {checks: []}",
            ["phase conformance of the recipe declares no"],
        ),
        ("    deployment: {checks: [a]}\n    conformance: {}", ["phase conformance of the recipe declares no check"]),
        (
            "    performance: {constraints: [{name: nccl-all-reduce-bw, value: '>= 300'}]}",
            ["performance of the recipe declares no check"],
        ),
        ("    readiness: {checks: [a]}\n    deployment: {checks: [a]}", ["nothing runs checks of that phase"]),
        ("    deployment: {checks: [a]}\n    security: {checks: [b]}", ["phase security of the recipe is not known"]),
    ],
)
def test_a_phase_that_no_check_stands_for_does_not_pass(cluster, validation, words):
    text = cluster.recipe().canonical + f"validation:\n{validation}\n".encode()
    found = empty_phases(load_recipe(text))
    assert len(found) == len(words)
    assert all(word in reason for word, reason in zip(words, found, strict=True))
