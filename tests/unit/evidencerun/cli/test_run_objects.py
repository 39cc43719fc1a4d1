# SPDX-License-Identifier: Apache-2.0
"""A wrong name is told the right ones; a cluster without our kinds is told apart from it."""

from __future__ import annotations

from typing import Any

import pytest

from evidencerun.cli.exits import Exit, exit_for_error
from evidencerun.cli.run_objects import list_runs, read_run
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.base import http_fault


class FakeCluster:
    """Runs of one namespace; None stands for a cluster that does not know the kind."""

    def __init__(self, *names: str, known: bool = True) -> None:
        self._names = names if known else None

    def get(self, path: str) -> dict[str, Any]:
        name, _, query = path.rpartition("/")[2].partition("?")
        if self._names is not None and query:
            return {"items": [{"metadata": {"name": each}} for each in self._names]}
        if self._names is not None and name in self._names:
            return {"metadata": {"name": name}}
        raise http_fault(status=404, reason="NotFound", message="not found", where=f"GET {path}")


def test_a_run_that_is_there():
    assert read_run(FakeCluster("a"), "evidence", "a")["metadata"]["name"] == "a"


@pytest.mark.parametrize(
    ("names", "words"), [(("b", "c"), "it has: b, c"), ((), "it has none at all"), (["x"] * 14, "x and 4 more")]
)
def test_a_wrong_name_is_told_what_there_is(names, words):
    with pytest.raises(InputError, match="namespace evidence has no EvidenceRun a") as caught:
        read_run(FakeCluster(*names), "evidence", "a")
    assert words in caught.value.why
    assert exit_for_error(caught.value) is Exit.USAGE


@pytest.mark.parametrize("read", [lambda c: read_run(c, "evidence", "a"), lambda c: list_runs(c, "evidence")])
def test_a_cluster_without_our_kinds_is_told_how_to_get_them(read):
    with pytest.raises(ClusterError, match="does not know EvidenceRun") as caught:
        read(FakeCluster(known=False))
    assert caught.value.fix.startswith("helm install evidencerun")
    assert exit_for_error(caught.value) is Exit.NO_VERDICT


def test_an_answer_other_than_not_found_is_passed_on():
    class Forbidding:
        def get(self, path: str) -> dict[str, Any]:
            raise http_fault(status=403, reason="Forbidden", message="no", where=path)

    with pytest.raises(ClusterError) as caught:
        read_run(Forbidding(), "evidence", "a")
    assert exit_for_error(caught.value) is Exit.FORBIDDEN
