# SPDX-License-Identifier: Apache-2.0
"""The truth table of endings. What a well-known validator does wrong in these cases is what they are here for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun import limits
from evidencerun.validation.outcome import (
    Reason,
    began,
    ending_contradiction,
    judge,
    over_time,
    ran_over,
    reserved_lines,
    shown_reason,
    visible_lines,
    without_image,
)
from evidencerun.validation.storeapi import CheckStatus, ContainerEnding

RAN = {"started_at": "2026-11-24T06:00:00Z", "finished_at": "2026-11-24T06:00:03Z"}
SKIP = '##AICR-EXTRA## {"skipReason": "no-gpu-nodes"}'


def ended(exit_code: int | None = None, reason: str = "", message: str = "", **members: object) -> ContainerEnding:
    return ContainerEnding(exit_code=exit_code, reason=reason, message=message, **{**RAN, **members})


def never(reason: str = "", message: str = "") -> ContainerEnding:
    return ContainerEnding(reason=reason, message=message)


@pytest.mark.parametrize(
    ("ending", "log", "status", "reason"),
    [
        (ended(0, "Completed"), "", "passed", ""),
        (ended(0, "Completed", "fine"), "", "passed", ""),
        (ended(1, "Error", "no such Deployment"), "", "failed", ""),
        (ended(1, "Error", "no such Deployment"), SKIP, "failed", ""),
        (ended(2, "Error", "no GPU nodes"), "", "skipped", "stated"),
        (ended(2, "Error"), SKIP, "skipped", "stated"),
        (ended(2, "Error"), "", "other", "no-skip-reason"),
        (ended(2, "Error", "  \n"), "", "other", "no-skip-reason"),
        (ended(2, "Error"), "panic: runtime error\n\ngoroutine 1 [running]:\n", "other", "no-skip-reason"),
        (ended(2, "Error", "panic: runtime error\n\ngoroutine 1 [running]:"), "", "other", "panic"),
        (ended(2, "Error", "Traceback (most recent call last):\n  File"), "", "other", "panic"),
        (ended(2, "Error", "fatal error: all goroutines are asleep"), "", "other", "panic"),
        (ended(3, "Error"), "", "other", "exit-code"),
        (ended(127, "Error"), "", "other", "exit-code"),
        (ended(-1, "Error"), "", "other", "exit-code"),
        (ended(137, "OOMKilled"), "", "other", "oom-killed"),
        (ended(0, "OOMKilled"), "", "other", "oom-killed"),
        (ended(137, "Error"), "", "other", "signal"),
        (ended(143, "Error"), "", "other", "signal"),
        (ended(0, "Completed", signal=15), "", "other", "signal"),
        (ended(0, "Shutdown"), "", "other", "interrupted"),
        (ended(1, "seccomp killed"), "", "other", "interrupted"),
        (ended(2, "Unknown", "no GPU nodes"), "", "other", "interrupted"),
        (ended(137, "DeadlineExceeded"), "", "other", "timeout"),
        (ended(0, "DeadlineExceeded"), "", "other", "timeout"),
        (ended(2, "DeadlineExceeded", "context canceled"), "", "other", "timeout"),
        (ended(None, "DeadlineExceeded"), "", "other", "timeout"),
        (never("DeadlineExceeded", "Pod was active on the node longer"), "", "other", "not-started"),
        (ended(137, "Evicted"), "", "other", "evicted"),
        (ended(None, "NodeLost"), "", "other", "node-lost"),
        (ended(None, "NodeShutdown"), "", "other", "node-lost"),
        (ended(137, "ContainerStatusUnknown"), "", "other", "node-lost"),
        (ended(None, "PodGone"), "", "other", "pod-deleted"),
        (ended(137, "PodDeleted"), "", "other", "pod-deleted"),
        (never("JobDeleted"), "", "other", "pod-deleted"),
        (never("RunDeadlineExceeded"), "", "other", "run-ended"),
        (never("RunCancelled"), "", "other", "run-ended"),
        (never("RunEnded"), "", "other", "run-ended"),
        (never("ErrImagePull", "manifest unknown"), "", "other", "image-pull"),
        (never("ImagePullBackOff"), "", "other", "image-pull"),
        (never("InvalidImageName"), "", "other", "image-pull"),
        (never("CreateContainerConfigError"), "", "other", "start-error"),
        (never("RunContainerError"), "", "other", "start-error"),
        (never("Unschedulable", "0/3 nodes are available"), "", "other", "unschedulable"),
        (never("FailedCreate", "violates PodSecurity"), "", "other", "admission"),
        (never("NeverStarted"), "", "other", "not-started"),
        (never(), "", "other", "not-started"),
        (ended(None), "", "other", "no-ending"),
        (ContainerEnding(exit_code=0), "", "passed", ""),
    ],
)
def test_every_ending(ending, log, status, reason):
    outcome = judge(ending, log_tail=log)
    assert (outcome.status, outcome.reason) == (status, reason)


@pytest.mark.parametrize(
    ("ending", "started"),
    [
        (ended(0, "Completed"), True),
        (ended(1, "Error"), True),
        (ended(137, "OOMKilled"), True),
        (ended(None, "NodeLost"), True),
        (ended(None), True),
        (ContainerEnding(exit_code=3), True),
        (ContainerEnding(exit_code=0, reason="Completed"), True),
        (never(), False),
        (never("ImagePullBackOff"), False),
        (never("Unschedulable"), False),
        (never("NodeLost"), False),
        (never("PodDeleted"), False),
        (never("FailedCreate"), False),
        (never("RunDeadline"), False),
        # A runtime that could not start a container gives it an exit code and its own zero of time.
        (ended(128, "StartError", started_at="1970-01-01T00:00:00Z"), False),
        (ended(127, "ContainerCannotRun", started_at="0001-01-01T00:00:00Z"), False),
        # A kubelet that evicts a pod gives 137 to containers that it has never started.
        (ContainerEnding(exit_code=137, reason="ContainerStatusUnknown"), False),
        (ContainerEnding(exit_code=137, reason="Evicted"), False),
        (ContainerEnding(exit_code=137, reason="DeadlineExceeded"), False),
    ],
)
def test_a_container_began_if_its_start_or_its_own_exit_code_was_seen(ending, started):
    assert began(ending) is started


def test_the_zero_of_a_runtime_is_no_time():
    assert ContainerEnding(started_at="1970-01-01T00:00:00Z").started_at == ""


def test_what_began_was_not_never_started():
    ending = ended(None, "DeadlineExceeded")
    assert ending_contradiction(ending, CheckStatus.OTHER, "timeout", image_known=True) == ""
    assert "started" in ending_contradiction(ending, CheckStatus.OTHER, "not-started", image_known=True)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_of_an_image_that_nobody_knows_no_word_counts(code):
    ending = ended(code, "Error", "its words")
    told = judge(ending)
    outcome = without_image(told)
    assert (outcome.status, outcome.reason) == (CheckStatus.OTHER, Reason.IMAGE_UNKNOWN)
    assert outcome.message == "the kubelet does not say which image ran: its words"
    assert ending_contradiction(ending, outcome.status, outcome.reason, image_known=False) == ""
    assert ending_contradiction(ending, told.status, told.reason, image_known=False)
    assert ending_contradiction(ending, outcome.status, outcome.reason, image_known=True)


def test_what_was_no_word_of_the_check_stays_what_it_was():
    for ending in (ended(137, "OOMKilled"), ended(None, "ImagePullBackOff"), ended(3, "Error")):
        assert without_image(judge(ending)) == judge(ending)
    never = ContainerEnding(reason="NeverStarted")
    assert ending_contradiction(never, CheckStatus.OTHER, "image-unknown", image_known=False)


@pytest.mark.parametrize(
    ("finished", "over"), [("06:00:05", False), ("06:00:06", False), ("06:00:07", True), ("", False)]
)
def test_the_limit_counts_from_the_containers_start_in_the_kubelets_whole_seconds(finished, over):
    moment = f"2026-11-24T{finished}Z" if finished else ""
    ending = ContainerEnding(exit_code=0, started_at="2026-11-24T06:00:00Z", finished_at=moment)
    assert ran_over(ending, 5) is over
    assert not ran_over(ending.model_copy(update={"started_at": ""}), 5)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_what_a_check_says_after_its_time_does_not_count(code):
    ending = ended(code, "Error", "its words")
    told, late = judge(ending), over_time(judge(ending))
    assert (late.status, late.reason) == (CheckStatus.OTHER, Reason.TIMEOUT)
    assert late.message == "ran into its time limit: its words"
    assert ending_contradiction(ending, late.status, late.reason, image_known=True, over=True) == ""
    assert ending_contradiction(ending, told.status, told.reason, image_known=True, over=True)
    killed = judge(ended(137, "OOMKilled"))
    assert over_time(killed) == killed


@given(
    st.builds(
        ContainerEnding,
        exit_code=st.none() | st.integers(-1, 255),
        signal=st.none() | st.integers(0, 31),
        reason=st.text(max_size=12)
        | st.sampled_from(["OOMKilled", "DeadlineExceeded", "Completed", "Error", "Evicted"]),
        message=st.text(max_size=40),
        started_at=st.sampled_from(["", "2026-11-24T06:00:00Z"]),
    ),
    st.text(max_size=200),
)
def test_only_an_exit_code_of_0_that_nobody_brought_about_passes(ending, log):
    outcome = judge(ending, log_tail=log)
    if outcome.status is CheckStatus.PASSED:
        assert (ending.exit_code, ending.signal or 0) == (0, 0)
        assert ending.reason in ("", "Completed", "Error")
    if outcome.status is CheckStatus.FAILED:
        assert ending.exit_code == 1
    if outcome.status is CheckStatus.SKIPPED:
        assert ending.exit_code == 2
        assert outcome.message.strip()
    assert (outcome.reason is Reason.NONE) is (outcome.status in (CheckStatus.PASSED, CheckStatus.FAILED))
    assert outcome.status is not CheckStatus.PENDING
    assert ending_contradiction(ending, outcome.status, outcome.reason, image_known=True) == ""
    unknown = without_image(outcome)
    assert unknown.status is CheckStatus.OTHER
    assert ending_contradiction(ending, unknown.status, unknown.reason, image_known=False) == ""


def test_a_skip_reason_may_come_from_elsewhere():
    outcome = judge(ended(2, "Error"), skip_reason="single-machine")
    assert (outcome.status, outcome.reason, outcome.message) == ("skipped", "stated", "single-machine")


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (ended(3, "Error", "boom"), "exit code 3 is neither 0, 1 nor 2: boom"),
        (ended(143, "Error"), "ended by signal 15"),
        (ended(137, "OOMKilled"), "killed because it used more memory than its limit (OOMKilled)"),
        (never("ErrImagePull", "manifest unknown"), "its image could not be pulled (ErrImagePull): manifest unknown"),
        (ended(1, "Error", "no Deployment a/b"), "no Deployment a/b"),
        (ended(0, "Completed", "3 of 3 ready\n"), "3 of 3 ready"),
    ],
)
def test_messages_say_what_happened(ending, words):
    assert judge(ending).message == words


def test_results_that_came_before_a_kill_are_mentioned():
    message = judge(ended(137, "DeadlineExceeded"), uploaded=["measurements.json"]).message
    assert "1 result files were kept" in message


def test_messages_are_bounded():
    outcome = judge(ended(3, "Error", "x" * limits.TERMINATION_MESSAGE_MAX))
    assert len(outcome.message) == limits.TERMINATION_MESSAGE_MAX


def test_reserved_lines_are_read_the_last_one_that_is_well_formed():
    log = "\n".join(
        [
            "RESULT: 2 of 2",
            '##AICR-EXTRA## {"nodesValidated": "1"}',
            '##AICR-EXTRA## {"nodesValidated": "2", "nodesTotal": "2"}',
            '##AICR-EXTRA## {"nodesValidated": 3}',
            "##AICR-EXTRA## {broken",
            "##AICR-EXTRA## [1]",
            ' ##AICR-EXTRA## {"nodesValidated": "9"}',
            '##AICR-PROVENANCE## {"shippedDigest": "a", "overriddenPaths": ["x"]}',
            "##AICR-PROVENANCE## nonsense",
        ]
    )
    extra, provenance = reserved_lines(log)
    assert extra == {"nodesValidated": "2", "nodesTotal": "2"}
    assert provenance == {"shippedDigest": "a", "overriddenPaths": ["x"]}
    outcome = judge(ended(0, "Completed"), log_tail=log)
    assert (outcome.extra, outcome.provenance) == (extra, provenance)


def test_reserved_lines_are_not_for_people():
    log = 'one\n##AICR-EXTRA## {"a": "b"}\nRESULT: two\n##AICR-PROVENANCE## {}\n'
    assert visible_lines(log) == ["one", "RESULT: two"]


@pytest.mark.parametrize(
    "line",
    [
        '{"skipReason": "' + "x" * limits.RESERVED_LINE_MAX + '"}',
        "[" * 5000,
        '{"skipReason": "a", "skipReason": "b"}',
        '{"skipReason": "\udc80"}',
    ],
)
def test_hostile_reserved_lines_are_ordinary_output(line):
    outcome = judge(ended(2, "Error"), log_tail=f"##AICR-EXTRA## {line}")
    assert outcome.reason is Reason.NO_SKIP_REASON


@pytest.mark.parametrize(
    ("reason", "extra", "shown"),
    [
        ("stated", {"skipReason": "single-machine"}, "single-machine"),
        ("stated", {}, ""),
        ("excluded", {}, "excluded"),
        ("oom-killed", {"skipReason": "x"}, "oom-killed"),
    ],
)
def test_people_are_shown_the_check_s_own_word_for_a_skip(reason, extra, shown):
    assert shown_reason(reason, extra) == shown
