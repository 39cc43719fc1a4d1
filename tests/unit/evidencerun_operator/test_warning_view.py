# SPDX-License-Identifier: Apache-2.0
"""Which of the API's warnings people are shown."""

from __future__ import annotations

from typing import Any

from evidencerun_operator.views import latest_warnings, warning_view


def _event(reason: str, message: str, moment: str) -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": moment, "involvedObject": {"name": "pod"}}


def test_the_latest_warning_is_told():
    rows = [
        warning_view(_event("Failed", "ErrImagePull", "2026-11-24T00:00:02Z")),
        warning_view(_event("FailedScheduling", "no node", "2026-11-24T00:00:01Z")),
    ]
    assert latest_warnings(rows) == {"pod": "ErrImagePull"}


def test_a_startup_probe_that_has_not_succeeded_yet_hides_nothing():
    rows = [
        warning_view(_event("Failed", "ErrImagePull", "2026-11-24T00:00:01Z")),
        warning_view(_event("Unhealthy", "Startup probe failed: ", "2026-11-24T00:00:02Z")),
    ]
    assert latest_warnings(rows) == {"pod": "ErrImagePull"}
    assert latest_warnings(rows[1:]) == {}


def test_an_event_of_a_series_counts_with_its_last_time():
    event = {**_event("FailedMount", "no volume", ""), "series": {"lastObservedTime": "2026-11-24T00:00:03Z"}}
    assert warning_view(event) == ("2026-11-24T00:00:03Z", "pod", "no volume")
