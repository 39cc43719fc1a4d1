# SPDX-License-Identifier: Apache-2.0
"""The annotation of `kubectl apply`: the bytes that kubectl writes, and never too many of them."""

from __future__ import annotations

import json
from typing import Any

from evidencerun.cli.applied import LAST_APPLIED, with_last_applied


def run(**metadata: Any) -> dict[str, Any]:
    spec = {"recipe": {"inline": "a: <b> & \u00e9\u2028\n"}, "deadline": "5m"}
    return {"kind": "EvidenceRun", "apiVersion": "x/v1", "metadata": {"namespace": "n", **metadata}, "spec": spec}


def test_the_bytes_are_those_of_kubectl():
    """As kubectl 1.36 wrote them for the same object."""
    assert with_last_applied(run(name="demo"))["metadata"]["annotations"] == {
        LAST_APPLIED: '{"apiVersion":"x/v1","kind":"EvidenceRun","metadata":{"annotations":{},"name":"demo",'
        '"namespace":"n"},"spec":{"deadline":"5m","recipe":{"inline":"a: \\u003cb\\u003e \\u0026 \u00e9\\u2028\\n"}}}\n'
    }


def test_other_annotations_stay_and_an_old_copy_does_not():
    body = with_last_applied(run(name="demo", annotations={"team": "a", LAST_APPLIED: "old"}))
    annotations = body["metadata"]["annotations"]
    assert annotations["team"] == "a"
    assert json.loads(annotations[LAST_APPLIED])["metadata"]["annotations"] == {"team": "a"}


def test_the_given_object_is_not_changed():
    body = run(name="demo")
    with_last_applied(body)
    assert "annotations" not in body["metadata"]


def test_no_copy_of_what_gets_its_name_later_or_would_become_too_large():
    unnamed, large = run(generateName="demo-"), run(name="demo")
    large["spec"]["recipe"]["inline"] = "\n" * 131_072  # each becomes two bytes
    broken = run(name="demo", annotations=["no mapping"])
    for body in (unnamed, large, broken):
        assert with_last_applied(body) is body
