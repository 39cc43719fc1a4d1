# SPDX-License-Identifier: Apache-2.0
"""Conditions keep their time while their status stays; the status stays small and printable."""

import pytest
from operator_samples import START, UID, at, condition_of, make_run, run_body, stamp
from pydantic import ValidationError

from evidencerun.errors import ClusterError, InputError, StoreError
from evidencerun_operator.conditions import complete_set, shortened
from evidencerun_operator.draft import Draft
from evidencerun_operator.failures import explained
from evidencerun_operator.naming import RunRef
from evidencerun_operator.run_events import new_events
from evidencerun_operator.run_list import run_row
from evidencerun_operator.run_object import read_run
from evidencerun_operator.settings import from_environment
from evidencerun_operator.status import ConditionStatus, ConditionType, RunPhase, RunStatus
from evidencerun_operator.suggestion import did_you_mean

RUN = RunRef(uid=UID, namespace="evidence", name="demo")


def test_all_known_conditions_stand_from_the_first_pass_on():
    known = complete_set((), now=START, generation=1)
    assert [condition.type for condition in known] == [str(kind) for kind in ConditionType]
    good_from_the_start = {c.type: c.status for c in known if c.status != "Unknown"}
    assert good_from_the_start == {"StoreUnavailable": "False"}


def test_the_transition_time_moves_with_the_status_only():
    draft = Draft(make_run(), START)
    draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, "Sealing")
    stored = make_run(status=draft.build().to_wire())
    later = Draft(stored, at(60))
    later.mark(ConditionType.SEALED, ConditionStatus.FALSE, "SigningFails", "no key")
    sealed = condition_of(later.build(), "Sealed")
    assert (sealed.reason, sealed.last_transition_time) == ("SigningFails", stamp())
    later.mark(ConditionType.SEALED, ConditionStatus.TRUE, "Signed")
    assert condition_of(later.build(), "Sealed").last_transition_time == stamp(60)


def test_messages_are_one_printable_line_that_fits():
    assert shortened("a\n\tb\x1b[31mc") == "a b [31mc"
    assert len(shortened("x" * 5000)) == 1024


def test_a_status_of_another_version_is_read_leniently_and_a_broken_one_is_begun_anew():
    newer = read_run(run_body(status={"phase": "Probing", "future": {"a": 1}}))
    assert newer.status.phase == "Probing"
    assert read_run(run_body(status={"conditions": "broken"})).status == RunStatus()


def test_what_is_not_known_is_absent_from_the_status():
    wire = RunStatus(phase="Pending").to_wire()
    assert "verdict" not in wire
    assert "bundle" not in wire


DENIED = ClusterError("E3007", "the API server refuses the object", why="denied by policy", status=403)


def test_a_failure_is_told_without_touching_what_decisions_rest_on():
    draft = Draft(make_run(), START)
    draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, "Sealing")
    draft.say(RunPhase.CHECKING)
    base = draft.build()
    refused = explained(base, ClusterError("E3004", "refused", why="exceeded quota", status=403), now=START)
    assert condition_of(refused, "Planned").reason == "Blocked"
    assert condition_of(refused, "Sealed") == condition_of(base, "Sealed")
    assert "exceeded quota" in refused.summary
    draft.mark(ConditionType.CHECKS_FINISHED, ConditionStatus.UNKNOWN, "CheckBlocked", f"oom: FailedCreate: {DENIED}")
    draft.say(RunPhase.CHECKING, f"oom: FailedCreate: {DENIED}")
    assert explained(draft.build(), DENIED, now=START) == draft.build()
    away = explained(base, StoreError("E3501", "the evidence store cannot be reached"), now=START)
    assert condition_of(away, "StoreUnavailable").status == "True"


def test_events_are_one_per_decided_condition_and_named_so_that_a_repeat_makes_no_second():
    draft = Draft(make_run(), START)
    draft.mark(ConditionType.ACCEPTED, ConditionStatus.FALSE, "UnknownCheck", "no check x")
    draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, "Sealing")
    after = draft.build()
    events = new_events(RUN, RunStatus(), after, now=START)
    assert [(e["type"], e["reason"], e["metadata"]["name"]) for e in events] == [
        ("Warning", "UnknownCheck", f"demo.{UID[:8]}.accepted.unknowncheck")
    ]
    # The chart grants events.k8s.io, which refuses the members of the core form (`involvedObject`, `count`, `source`).
    assert {e["apiVersion"] for e in events} == {"events.k8s.io/v1"}
    assert events[0]["regarding"]["name"] == "demo"
    assert set(events[0]) == {
        "apiVersion", "kind", "metadata", "regarding", "type", "reason", "action", "note", "eventTime",
        "reportingController", "reportingInstance",
    }  # fmt: skip
    assert new_events(RUN, after, after, now=START) == []


@pytest.mark.parametrize(
    ("verdict", "delivered", "kind"),
    [
        ("Passed", ("True", "Delivered"), "Normal"),
        ("Passed", ("False", "NotRequested"), "Normal"),
        ("Passed", ("False", "DeliveryFailed"), "Warning"),
        ("ChecksFailed", ("False", "NotRequested"), "Warning"),
        ("Cancelled", ("False", "NotRequested"), "Normal"),
    ],
)
def test_the_end_of_a_run_is_normal_only_if_it_got_all_that_was_asked(verdict, delivered, kind):
    draft = Draft(make_run(), START)
    draft.judge(verdict)
    draft.mark(ConditionType.DELIVERED, ConditionStatus(delivered[0]), delivered[1])
    before = draft.build()
    draft.finish("words")
    (event,) = (e for e in new_events(RUN, before, draft.build(), now=START) if e["action"] == "Complete")
    assert (event["type"], event["reason"]) == (kind, verdict)


def test_a_row_of_the_run_list():
    body = run_body(status={"plan": {"x": 1}, "conditions": [{"type": "Complete", "status": "True"}]})
    row = run_row(body)
    assert (row.planned, row.complete, row.refused) == (True, True, False)
    assert row.order == (stamp(), "evidence", "demo")


ENVIRONMENT = {
    "EVIDENCERUN_SYSTEM_NAMESPACE": "s",
    "EVIDENCERUN_PROBES_NAMESPACE": "p",
    "EVIDENCERUN_CHECKS_NAMESPACE": "c",
    "EVIDENCERUN_RUN_NAMESPACES": "b, a,",
    "EVIDENCERUN_STORE_URL": "https://x",
    "EVIDENCERUN_TOKEN_FILE": "/t",
    "EVIDENCERUN_IMAGE": "i",
    "EVIDENCERUN_PROBE_IMAGE": "j",
}


def test_settings_come_from_the_environment_and_every_fault_is_named_at_once():
    assert from_environment(ENVIRONMENT).run_namespaces == ("a", "b")
    with pytest.raises(InputError) as caught:
        from_environment({"EVIDENCERUN_HEALTH_PORT": "no", "EVIDENCERUN_WORKERS": "0"})
    for word in ("EVIDENCERUN_STORE_URL", "EVIDENCERUN_RUN_NAMESPACES", "'no'", "EVIDENCERUN_WORKERS"):
        assert word in caught.value.why


def test_suggestions():
    assert did_you_mean("nod-agreement", ["node-agreement", "other"]) == "did you mean node-agreement?"
    assert did_you_mean("zzz", ["a", "b"]) == "known: a, b"
    assert did_you_mean("zzz", []) == "none is defined"


def test_a_condition_reason_is_a_word():
    with pytest.raises(ValidationError):
        Draft(make_run(), START).mark(ConditionType.SEALED, ConditionStatus.FALSE, "two words")
