# SPDX-License-Identifier: Apache-2.0
"""What status tells about checks that did not simply pass."""

from __future__ import annotations

from types import SimpleNamespace as Some

import pytest

from evidencerun.validation.storeapi import AttemptState, AttemptView, CheckStatus, RunView
from evidencerun_operator.check_sample import check_samples
from evidencerun_operator.status import CheckSample, ChecksStatus, RunStatus
from evidencerun_operator.wording import summary


def _attempt(number: int, status: CheckStatus, reason: str = "", message: str = "") -> AttemptView:
    return AttemptView(
        check="probe-me",
        phase="deployment",
        attempt=number,
        job_name=f"job-{number}",
        state=AttemptState.CREATED if status is CheckStatus.PENDING else AttemptState.ENDED,
        status=status,
        reason=reason,
        message=message,
    )


def _samples(*attempts: AttemptView, in_catalog: bool = True, excluded: bool = False) -> tuple[CheckSample, ...]:
    check = Some(name="probe-me", phase="deployment", entry=Some(retries=1) if in_catalog else None, excluded=excluded)
    view = RunView(uid="u", plan_digest="", reported=[], attempts=list(attempts))
    return check_samples(Some(checks=[check]), view)  # type: ignore[arg-type]


FAILED = _attempt(1, CheckStatus.FAILED, message="found 1, expected 2")


@pytest.mark.parametrize(
    ("attempts", "outcome"),
    [
        ([_attempt(1, CheckStatus.OTHER, "oom-killed", "killed")], "other(oom-killed)"),
        ([FAILED], "failed"),
        ([FAILED, _attempt(2, CheckStatus.PASSED)], "passed after failed"),
        ([FAILED, _attempt(2, CheckStatus.OTHER, "timeout")], "other(timeout), attempt 2"),
        ([FAILED, _attempt(2, CheckStatus.PENDING)], "failed"),
    ],
)
def test_an_attempt_that_went_wrong_is_named(attempts: list[AttemptView], outcome: str):
    (sample,) = _samples(*attempts)
    assert (sample.name, sample.outcome) == ("probe-me", outcome)


def test_the_message_is_that_of_the_attempt_that_went_wrong():
    (sample,) = _samples(FAILED, _attempt(2, CheckStatus.PASSED, message="all is well"))
    assert sample.message == "found 1, expected 2"


@pytest.mark.parametrize("status", [CheckStatus.PASSED, CheckStatus.PENDING])
def test_nothing_is_told_of_a_check_that_went_well_or_still_goes(status: CheckStatus):
    assert _samples(_attempt(1, status)) == ()


def test_a_check_that_the_catalog_lacks_is_named():
    assert _samples(in_catalog=False)[0].outcome == "other(not-in-catalog)"


def test_a_check_that_skipped_itself_is_told_with_its_own_reason():
    words = "skipped (single-machine): 3 nodes with one boot id are one machine"
    (sample,) = _samples(_attempt(1, CheckStatus.SKIPPED, "stated", words))
    assert (sample.outcome, sample.message) == ("skipped", words)


def test_a_check_that_the_run_leaves_out_is_told():
    (sample,) = _samples(in_catalog=False, excluded=True)
    assert (sample.outcome, sample.message) == ("skipped(excluded)", "spec.checks leaves it out")


def test_what_went_wrong_comes_before_what_was_skipped():
    names = [f"skip-{number}" for number in range(20)]
    checks = [Some(name=name, phase="deployment", entry=None, excluded=True) for name in names]
    checks.append(Some(name="bad", phase="deployment", entry=None, excluded=False))
    view = RunView(uid="u", plan_digest="", reported=[], attempts=[])
    samples = check_samples(Some(checks=checks), view)  # type: ignore[arg-type]
    assert [sample.name for sample in samples] == ["bad", *names[:19]]


def test_the_summary_names_the_outcomes_before_the_note():
    sample = (CheckSample(name="one", outcome="other(timeout)"), CheckSample(name="two", outcome="failed"))
    status = RunStatus(checks=ChecksStatus(declared=3, executed=3, passed=1, failed=1, other=1, sample=sample))
    assert summary(status, "signing") == "3/3 checks; one: other(timeout), two: failed; signing"


def test_the_summary_counts_no_check_that_never_ran():
    status = RunStatus(checks=ChecksStatus(declared=2, executed=0, other=2))
    assert summary(status, "Cancelled") == "0/2 checks; Cancelled"
