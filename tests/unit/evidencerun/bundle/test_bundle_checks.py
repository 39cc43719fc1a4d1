# SPDX-License-Identifier: Apache-2.0
"""What run.json, reports and pages say of attempts: no more than was seen."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.bundle.assemble import assemble
from evidencerun.bundle.record import load_record
from evidencerun.validation.storeapi import ContainerEnding
from evidencerun.verify.duties import verify_unsigned

IMAGE = "registry.example.com/evidencerun@sha256:" + "1" * 64
NEVER = {
    "image-pull": ContainerEnding(reason="ImagePullBackOff", image_id=IMAGE),
    "unschedulable": ContainerEnding(reason="Unschedulable"),
    "node-lost": ContainerEnding(reason="NodeLost"),
    "admission": ContainerEnding(reason="FailedCreate"),
    "evicted": ContainerEnding(exit_code=137, reason="Evicted", image_id=IMAGE),
    "start-error": ContainerEnding(
        exit_code=128,
        reason="StartError",
        started_at="1970-01-01T00:00:00Z",
        finished_at="2026-09-20T10:02:02Z",
        image_id=IMAGE,
    ),
}


def lost(run, attempt, reason, **more):
    """Return the bundle of a run whose second check never started."""
    record = attempt("node-agreement", status="other", reason=reason, ending=NEVER[reason], log=b"", **more)
    return assemble(run.with_changes(attempts=(attempt("expected-resources"), record)).inputs())


@pytest.mark.parametrize("reason", NEVER)
def test_what_never_started_is_not_executed_ran_no_image_and_took_no_time(composed_run, compose_attempt, reason):
    bundle = lost(composed_run, compose_attempt, reason)
    record = load_record(bundle.files[layout.RUN])
    assert (record.counts.executed, record.counts.attempts) == (1, 2)
    attempt = record.checks[1].attempts[0]
    assert (attempt.started_at, attempt.duration, attempt.image_id, attempt.image_digest) == ("", 0, "", "")
    assert len([image for image in record.images if image.role == "check"]) == 1
    duties = verify_unsigned(bundle.files)
    assert duties.derived is not None
    assert duties.derived.conclusion.counts.executed == 1


def test_a_page_gives_no_duration_of_what_never_started(composed_run, compose_attempt):
    page = lost(composed_run, compose_attempt, "image-pull").files["evidence/deployment.md"].decode()
    row = next(line for line in page.splitlines() if line.startswith("| node-agreement"))
    assert row == "| node-agreement | other | image-pull | 1 | did not start | none |"
    times = json.loads(lost(composed_run, compose_attempt, "start-error").files["ctrf/deployment.json"])["results"]
    assert times["summary"]["start"] > 1_700_000_000_000


def test_why_a_log_is_not_whole_is_recorded_and_shown(composed_run, compose_attempt):
    gone = "the pod on worker-1.lab.example.com was gone before the end of its log was confirmed"
    record = compose_attempt("node-agreement", status="other", reason="pod-deleted")
    ending = ContainerEnding(
        reason="PodDeleted", started_at="2026-09-20T10:02:00Z", finished_at="2026-09-20T10:02:02Z", image_id=IMAGE
    )
    view = record.view.model_copy(update={"log_complete": False, "log_reason": gone})
    attempts = (compose_attempt("expected-resources"), replace(record, view=view, ending=ending))
    bundle = assemble(composed_run.with_changes(attempts=attempts).inputs())
    whole, cut = (check.attempts[0].log for check in load_record(bundle.files[layout.RUN]).checks)
    assert (whole.complete, whole.reason) == (True, "")
    assert cut.complete is False
    assert re.fullmatch("the pod on node-[0-9a-f]{12} was gone before the end of its log was confirmed", cut.reason)
    page = bundle.files["evidence/deployment.md"].decode()
    assert f"- the log of attempt 1 is not whole: {cut.reason}" in page
    assert page.count("is not whole") == 1
    verify_unsigned(bundle.files)


def test_a_log_with_bytes_left_out_is_not_whole(composed_run, compose_attempt):
    first = compose_attempt("expected-resources", log_truncated=7)
    attempts = (first, compose_attempt("node-agreement"))
    bundle = assemble(composed_run.with_changes(attempts=attempts).inputs())
    log = load_record(bundle.files[layout.RUN]).checks[0].attempts[0].log
    assert (log.dropped, log.complete, log.reason) == (7, False, "7 bytes were dropped")
    verify_unsigned(bundle.files)


def containers(count, *, first=0, width=10):
    """Return an images.json that lists so many containers."""
    rows = [
        {"namespace": "n", "kind": "Deployment", "name": f"d{number}", "container": "c", "image": f"r/{'x' * width}:1"}
        for number in range(first, first + count)
    ]
    return {"images.json": json.dumps(rows).encode()}


def seen_by(run, attempt, *results):
    attempts = [attempt("expected-resources"), attempt("node-agreement")]
    attempts = [replace(one, results=files) for one, files in zip(attempts, results, strict=True)]
    bundle = assemble(run.with_changes(attempts=tuple(attempts)).inputs())
    verify_unsigned(bundle.files)
    return load_record(bundle.files[layout.RUN])


def test_a_container_that_two_attempts_list_stands_once(composed_run, compose_attempt):
    record = seen_by(composed_run, compose_attempt, containers(3), containers(3, first=1))
    assert [image.name for image in record.observed_images] == ["d0", "d1", "d2", "d3"]


@pytest.mark.parametrize("second", [containers(1, first=5), containers(3, first=9, width=600)])
def test_more_containers_than_can_be_listed_are_noted_and_spoil_nothing(
    composed_run, compose_attempt, monkeypatch, second
):
    monkeypatch.setattr(limits, "OBSERVED_IMAGES_MAX", 5)
    monkeypatch.setattr(limits, "OBSERVED_IMAGES_BYTES_MAX", 1000)
    record = seen_by(composed_run, compose_attempt, containers(5), second)
    assert len(record.observed_images) == 5
    assert record.checks[1].attempts[0].notes[0].startswith("images.json was not used: with other attempts")
