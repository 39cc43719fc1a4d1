# SPDX-License-Identifier: Apache-2.0
"""How checks end that do not simply pass: each is recorded as what it was, with its log, and people see why at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from evidence_lab import CHECKS, Evidence, recipe
from observation import Watch, archive_texts, evr_status, moment
from trial_checks import entry

DECLARED = ("pass", "slow", "slow-too", "skip", "panic", "exit3", "oom", "hang", "absent", "flaky", "gate")
VISIBLE_SECONDS = 40
"""The claim is 10 s, which an idle machine keeps by far; one that is busy with others must not fail the test."""
EARLY = {
    "panic": "ended with exit code 2",
    "exit3": "ended with exit code 3",
    "oom": "OOMKilled",
    "hang": "Deadline",
    "absent": "Failed to pull",
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The run after its end, and what was seen on the way."""

    lab: Evidence
    run: dict[str, Any]
    record: dict[str, Any]
    files: dict[str, bytes]
    logs: dict[str, str]
    watch: Watch
    status_text: str
    deleted_at: float

    def check(self, name: str) -> dict[str, Any]:
        return next(check for check in self.record["checks"] if check["name"] == name)

    def attempts(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.check(name)["attempts"]
        return found

    def log(self, name: str, attempt: int = 1) -> str:
        found = [text for path, text in self.logs.items() if path.endswith(f"/{name}.{attempt}.log")]
        assert len(found) == 1, (name, sorted(self.logs))
        return found[0]


def _catalog(image: str, registry: str) -> list[dict[str, Any]]:
    special: dict[str, dict[str, Any]] = {
        "slow-too": {"args": ["slow"]},
        "hang": {"timeout": "5s"},
        "absent": {"image": f"{registry}/absent@sha256:" + "0" * 64},
        "flaky": {"retries": 1},
    }
    return [entry(name, **{"image": image, **special.get(name, {})}) for name in DECLARED]


@pytest.fixture(scope="module")
def ended(installed: Any, trial_image: str, offer: Callable[..., str], referrers_registry: Any) -> Iterator[Ended]:
    """One run with a check of every kind; the pod of `gate` is deleted while it runs."""
    lab = Evidence(cluster=installed)
    spec = {
        "recipe": {"inline": recipe(checks={"deployment": DECLARED})},
        "policy": offer("endings", _catalog(trial_image, referrers_registry.address)),
        "deadline": "10m",
    }
    name = lab.start(spec, prefix="endings")
    uid = lab.get(name)["metadata"]["uid"]
    with Watch(installed, name, uid) as watch:
        installed.wait_until("gate runs", lambda: _running(watch, "gate"), timeout=120)
        installed.kubectl("delete", "pod", "-n", CHECKS, watch.pod("gate")["metadata"]["name"], "--wait=false")
        deleted_at = time.time()
        run = lab.finished(name, timeout=300)
        time_to_look = evr_status(installed, name)
    files = lab.bundle(run)
    yield Ended(
        lab=lab,
        run=run,
        record=json.loads(files["run.json"]),
        files=files,
        logs=archive_texts(lab.logs(run)),
        watch=watch,
        status_text=time_to_look,
        deleted_at=deleted_at,
    )
    installed.kubectl("delete", "evr", "-n", "evidence", name, "--wait=false")


def _running(watch: Watch, check: str) -> bool:
    for pod in watch.pods.values():
        if pod["metadata"]["labels"].get("evidencerun.dev/check") == check:
            entries = pod["status"].get("containerStatuses", [])
            return any("running" in entry["state"] for entry in entries if entry["name"] == "validator")
    return False


def test_the_verdict_is_incomplete_and_the_bundle_verifies(ended: Ended, tmp_path: Any):
    assert ended.run["status"]["verdict"] == "Incomplete"
    (tmp_path / "bundle.tar.gz").write_bytes(ended.lab.archive(ended.run))
    (tmp_path / "signing.pub").write_bytes(ended.lab.public_key())
    done = ended.lab.verify(tmp_path / "bundle.tar.gz", tmp_path / "signing.pub")
    assert done.returncode in (10, 11), done.stdout + done.stderr
    assert ended.lab.leftovers(ended.run["metadata"]["uid"]) == []


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("pass", "passed", ""),
        ("slow", "passed", ""),
        ("skip", "skipped", "stated"),
        ("panic", "other", "no-skip-reason"),
        ("exit3", "other", "exit-code"),
        ("oom", "other", "oom-killed"),
        ("hang", "other", "timeout"),
        ("absent", "other", "image-pull"),
        ("gate", "other", "pod-deleted"),
        ("flaky", "passed", ""),
    ],
)
def test_each_is_recorded_as_what_it_was(ended: Ended, name: str, status: str, reason: str):
    check = ended.check(name)
    assert (check["status"], check["reason"]) == (status, reason)
    report = json.loads(ended.files["ctrf/deployment.json"])
    (row,) = [test for test in report["results"]["tests"] if test["name"] == name]
    assert row["status"] == status
    if reason:
        assert reason in json.dumps(row), row


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pass", "found it right"),
        ("panic", "panic: runtime error"),
        ("exit3", "trial check exit3"),
        ("oom", "trial check oom"),
        ("hang", "still at it"),
        ("gate", "trial check gate"),
    ],
)
def test_its_log_is_kept(ended: Ended, name: str, words: str):
    assert words in ended.log(name)


def test_the_log_goes_on_up_to_the_kill_and_results_are_kept(ended: Ended):
    assert "told to stop" in ended.log("hang"), "the line that the check wrote when it was being killed"
    (attempt,) = ended.attempts("hang")
    assert "partial.json" in json.dumps(attempt), attempt


def test_what_never_ran_has_no_log(ended: Ended):
    assert ended.log("absent").split("[evidencerun:")[0].strip() == ""
    (attempt,) = ended.attempts("absent")
    assert attempt["startedAt"] == "", attempt


def test_a_retry_shows_both_attempts(ended: Ended):
    first, second = ended.attempts("flaky")
    assert (first["status"], second["status"]) == ("failed", "passed")
    assert "trial check flaky, attempt 1" in ended.log("flaky", 1)
    assert "trial check flaky, attempt 2" in ended.log("flaky", 2)
    assert ended.run["status"]["checks"]["attempts"] == len(DECLARED) + 1
    assert "flaky: passed after failed" in ended.run["status"]["summary"]


@pytest.mark.parametrize("name", ["panic", "exit3", "oom", "hang", "gate", "absent"])
def test_the_reason_is_visible_within_seconds(ended: Ended, name: str, record_property: Callable[..., None]):
    """In `kubectl get -o wide`, counted from the container's end as the kubelet dates it, in whole seconds.

    For the image that is nowhere it is counted from the pod's own status, which comes later than the API's event.
    """
    watch, reason = ended.watch, ended.check(name)["reason"]
    judged = watch.first(f"{name}: other({reason})")
    if name == "absent":
        (begun,) = watch.blocked.values()
    else:
        begun = ended.deleted_at if name == "gate" else moment(watch.terminated(name)["finishedAt"])
    # The kubelet's word comes first, the judgement once all results are there.
    seen = min([when for when, line in watch.lines if f"{name}: {EARLY.get(name, 'other')}" in line] + [judged])
    print(f"{name}: visible after {seen - begun:.1f} s, judged {reason} after {judged - begun:.1f} s")
    record_property("visible_seconds", round(seen - begun, 1))
    assert seen - begun < VISIBLE_SECONDS


@pytest.mark.parametrize("name", ["panic", "exit3", "oom", "hang", "gate", "absent"])
def test_evr_status_names_it(ended: Ended, name: str):
    assert f"{name}: other({ended.check(name)['reason']})" in ended.status_text


def test_checks_of_a_phase_run_side_by_side(ended: Ended):
    """The times of two checks that only sleep overlap, as the kubelet dates them."""
    one, two = ended.watch.terminated("slow"), ended.watch.terminated("slow-too")
    begun = max(moment(one["startedAt"]), moment(two["startedAt"]))
    assert begun < min(moment(one["finishedAt"]), moment(two["finishedAt"])), (one, two)
