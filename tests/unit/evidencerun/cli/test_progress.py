# SPDX-License-Identifier: Apache-2.0
"""What a run's status says to a person."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evidencerun.cli.exits import VERDICT_EXITS, Exit
from evidencerun.cli.progress import clean, describe

NOW = datetime(2026, 9, 1, 10, 1, 30, tzinfo=UTC)


def make_run(**status):
    return {
        "metadata": {"name": "demo", "namespace": "evidence", "creationTimestamp": "2026-09-01T10:00:00Z"},
        "status": status,
    }


def make_condition(kind: str, status: str, message: str = "", **more: str):
    return {"type": kind, "status": status, "reason": "Because", "message": message, **more}


def test_a_run_without_status_is_pending():
    description = describe({"metadata": {"name": "demo", "namespace": "evidence"}}, NOW)
    assert not description.finished
    assert "Pending" in description.headline
    assert description.exit_code == Exit.WAIT_TIMEOUT


def test_a_run_that_nobody_takes_up_points_to_the_operator():
    new = {"metadata": {"name": "demo", "namespace": "evidence", "creationTimestamp": "2026-09-01T10:01:20Z"}}
    assert describe(new, NOW).rows == ()
    (row,) = describe(new, NOW.replace(minute=2)).rows
    assert "kubectl get pods -A -l app.kubernetes.io/component=operator" in row
    assert describe({**new, "status": {"phase": "Pending"}}, NOW.replace(minute=2)).rows == ()


def test_conditions_come_in_the_order_of_the_states():
    run = make_run(
        phase="Checking", conditions=[make_condition("Sealed", "Unknown"), make_condition("Accepted", "True")]
    )
    rows = describe(run, NOW).rows
    assert [row.split()[1] for row in rows] == ["Accepted", "Sealed"]
    assert rows[0].startswith("  ok ")
    assert rows[1].startswith("  ... ")


def test_a_condition_of_a_newer_operator_is_shown():
    rows = describe(make_run(conditions=[make_condition("Teleported", "False", "no beam")]), NOW).rows
    assert rows == ("  NO   Teleported      no beam",)


@pytest.mark.parametrize(
    ("kind", "status", "reason", "mark"),
    [
        ("Sealed", "False", "Sealing", "..."),
        ("Sealed", "False", "SigningTimedOut", "NO"),
        ("Delivered", "False", "NotRequested", "-"),
        ("StoreUnavailable", "True", "Unreachable", "NO"),
    ],
)
def test_what_is_still_worked_on_does_not_look_like_a_failure(kind: str, status: str, reason: str, mark: str):
    rows = describe(make_run(conditions=[{**make_condition(kind, status, "x"), "reason": reason}]), NOW).rows
    assert rows[0].split()[0] == mark


def test_a_store_that_answers_is_not_worth_a_row():
    assert describe(make_run(conditions=[make_condition("StoreUnavailable", "False")]), NOW).rows == ()


@pytest.mark.parametrize("verdict", sorted(VERDICT_EXITS))
def test_a_finished_run_has_its_verdict_and_the_code_of_it(verdict: str):
    done = make_condition("Complete", "True", lastTransitionTime="2026-09-01T10:00:42Z")
    description = describe(make_run(verdict=verdict, phase="Finished", conditions=[done]), NOW)
    assert description.finished
    assert description.exit_code == VERDICT_EXITS[verdict]
    assert verdict in description.headline
    assert "0m42s" in description.headline
    assert not any(row.startswith("Exit") for row in description.rows), "only a follower exits with it"


def test_no_signature_is_said_loudly():
    done = make_condition("Complete", "True")
    run = make_run(verdict="Passed", conditions=[done], bundle={"archiveDigest": "sha256:00", "signer": ""})
    assert any("NOT SIGNED" in row for row in describe(run, NOW).rows)


def test_a_check_that_failed_says_why_on_one_line():
    sample = [{"name": "expected-resources", "outcome": "failed", "message": "1 of 2 is not ready\n- " + "x" * 500}]
    run = make_run(verdict="ChecksFailed", conditions=[make_condition("Complete", "True")], checks={"sample": sample})
    (row,) = (row for row in describe(run, NOW).rows if "expected-resources" in row)
    assert row.lstrip().startswith("expected-resources: failed: 1 of 2 is not ready - xxx")
    assert row.endswith("… (the whole in status.checks.sample)")


def test_a_run_of_which_nothing_was_made_shows_no_row_of_zeros_and_of_what_it_did_not_come_to():
    unreached = {"reason": "NotReached"}
    conditions = [
        make_condition("Accepted", "False", "spec.deadline: found 7h"),
        {**make_condition("NodesReported", "False", "the run ended before"), **unreached},
        {**make_condition("Sealed", "False", "the run ended before"), **unreached},
        make_condition("Complete", "True"),
    ]
    rejected = make_run(verdict="Rejected", conditions=conditions, nextAction="kubectl delete evr/demo")
    assert describe(rejected, NOW).rows == (
        "  NO   Accepted        spec.deadline: found 7h",
        "Next       kubectl delete evr/demo",
    )
    counted = make_run(verdict="Cancelled", conditions=conditions, nodes={"targeted": 3, "reported": 1, "missing": 2})
    rows = describe(counted, NOW).rows
    assert [row.split()[1] for row in rows[:2]] == ["Accepted", "NodesReported"]
    assert rows[2] == "Nodes      1 of 3 reported, 0 failed, 2 missing"


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ("3/3 nodes, 2/2 checks; Incomplete", "3/3 nodes, 2/2 checks"),
        ("3/3 nodes; Incomplete: service is unknown; Sealed: x", "3/3 nodes; service is unknown; Sealed: x"),
        ("all other words; stay", "all other words; stay"),
    ],
)
def test_the_verdict_is_said_once(summary: str, said: str):
    done = make_condition("Complete", "True", lastTransitionTime="2026-09-01T10:00:42Z")
    finished = describe(make_run(verdict="Incomplete", summary=summary, conditions=[done]), NOW)
    assert finished.headline == f"EvidenceRun evidence/demo   Incomplete   {said}   0m42s"


def test_a_skip_gives_its_own_reason_once():
    sample = [{"name": "node-agreement", "outcome": "skipped", "message": "skipped (single-machine): one boot id"}]
    run = make_run(verdict="Passed", conditions=[make_condition("Complete", "True")], checks={"sample": sample})
    assert "           node-agreement: skipped (single-machine): one boot id" in describe(run, NOW).rows


def test_the_next_move_stands_last_and_a_bundle_that_it_does_not_fetch_is_fetched_before():
    done = make_condition("Complete", "True")
    bundle = {"archiveDigest": "sha256:00", "signer": "key", "fetch": "kubectl get --raw x > bundle.tar.gz"}
    bad = make_run(verdict="ChecksFailed", conditions=[done], bundle=bundle, nextAction="kubectl delete evr/demo")
    assert describe(bad, NOW).rows[-2:] == (
        "Fetch      evr pull -n evidence demo --key",
        "Next       kubectl delete evr/demo",
    )
    good = make_run(verdict="Passed", conditions=[done], bundle=bundle, nextAction=f"{bundle['fetch']} && evr verify")
    assert not any(row.startswith("Fetch") for row in describe(good, NOW).rows)


def test_what_did_not_match_is_named():
    done = make_condition("Complete", "True")
    match = {
        "overall": "mismatched",
        "dimensions": [
            {"name": "accelerator", "recipe": "h100", "observed": "none", "outcome": "mismatched"},
            {"name": "os", "recipe": "", "observed": "debian", "outcome": "not-asked"},
        ],
    }
    rows = describe(make_run(verdict="Mismatched", conditions=[done], match=match), NOW).rows
    row = next(row for row in rows if row.startswith("Match"))
    assert "accelerator asked h100, observed none" in row
    assert "debian" not in row


def test_control_characters_never_reach_the_terminal():
    assert clean("a\x1b[31mred\u202e") == "a\\u001b[31mred\\u202e"
    rows = describe(make_run(conditions=[make_condition("Accepted", "False", "\x1b]0;title\x07")]), NOW).rows
    assert "\x1b" not in rows[0]


def test_the_key_changes_with_the_facts_and_not_with_the_clock():
    run = make_run(phase="Probing", summary="1/3 nodes")
    assert describe(run, NOW).key == describe(run, NOW.replace(minute=5)).key
    assert describe(run, NOW).key != describe(make_run(phase="Probing", summary="2/3 nodes"), NOW).key
