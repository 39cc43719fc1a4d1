# SPDX-License-Identifier: Apache-2.0
"""The counts in status while a run goes on: what the store's own counts will be, without what is still open."""

from __future__ import annotations

import pytest
from operator_samples import attempt, make_plan, view

from evidencerun.validation.storeapi import CheckCounts, Verdict
from evidencerun_operator.checking import checks_status

PLAN = make_plan()
FIRST = PLAN.checks[0].name


def _ended(status: str, *, started: bool, number: int = 1):
    return attempt(FIRST, number, state="ended", status=status).model_copy(update={"started": started})


@pytest.mark.parametrize(
    ("attempts", "executed"),
    [
        ([], 0),
        ([attempt(FIRST, state="running")], 0),
        ([_ended("other", started=False)], 0),
        ([_ended("other", started=True)], 1),
        ([_ended("passed", started=True)], 1),
        ([_ended("failed", started=True), _ended("other", started=False, number=2)], 1),
        ([_ended("failed", started=True), attempt(FIRST, 2, state="running")], 1),
    ],
)
def test_only_a_check_whose_container_started_is_executed(attempts, executed):
    assert checks_status(PLAN, view(attempts=attempts), None).executed == executed


def test_what_is_open_is_neither_of_the_outcomes():
    found = checks_status(PLAN, view(attempts=[_ended("passed", started=True)]), None)
    assert (found.declared, found.passed, found.other) == (len(PLAN.checks), 1, 1)  # one is not in the catalog
    assert found.passed + found.failed + found.skipped + found.other < found.declared


def test_the_stores_counts_are_taken_once_there_is_a_verdict():
    counts = CheckCounts(declared=3, executed=2, passed=1, failed=1, other=1, attempts=4)
    sealed = view(verdict=Verdict.CHECKS_FAILED, counts=counts, attempts=[_ended("passed", started=True)])
    assert checks_status(PLAN, sealed, None).executed == 2
