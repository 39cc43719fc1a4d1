# SPDX-License-Identifier: Apache-2.0
"""`evr status` without a name: a table of one namespace or of all; where it looked if there is nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evidencerun.cli import app
from evidencerun.cli.run_objects import LISTED
from evidencerun.kube.sync import KubeconfigCluster

ALL = "/apis/evidencerun.dev/v1alpha1/evidenceruns"
RUN = {
    "metadata": {"name": "first", "namespace": "evidence"},
    "status": {
        "plan": {"recipeName": "none"},
        "nodes": {"reported": 2, "targeted": 3},
        "checks": {"passed": 1, "declared": 2},
        "phase": "Finished",
        "verdict": "Incomplete",
        "bundle": {"signer": "key:sha256:0"},
    },
}


class FakeCluster:
    """Runs of some namespaces, listed as the API server lists them."""

    namespace = "default"

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.runs = runs

    def get(self, path: str) -> dict[str, Any]:
        route, _, query = path.partition("?")
        assert query == f"limit={LISTED}"
        if route == ALL:
            return {"items": self.runs}
        namespace = route.split("/namespaces/")[1].split("/")[0]
        return {"items": [run for run in self.runs if run["metadata"]["namespace"] == namespace]}


@pytest.fixture
def status(monkeypatch):
    """status(words, runs) is the exit code of `evr status`."""

    def called(*words: str, runs: list[dict[str, Any]]) -> int:
        monkeypatch.setattr(KubeconfigCluster, "from_kubeconfig", lambda *_: FakeCluster(runs))
        return app.run(["status", *words])

    return called


def test_an_empty_namespace_is_named_with_the_way_to_others(status, capsys):
    assert status(runs=[RUN]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "no EvidenceRun in namespace default; name another with -n NAMESPACE, or list all with -A\n"
    assert status("-A", runs=[]) == 0
    assert capsys.readouterr().err == "no EvidenceRun in any namespace\n"


def test_the_table_of_a_namespace(status, capsys):
    assert status("-n", "evidence", runs=[RUN]) == 0
    head, row = (line.split("   ") for line in capsys.readouterr().out.splitlines())
    assert [cell.strip() for cell in head if cell] == [
        "NAME",
        "RECIPE",
        "NODES",
        "PASSED",
        "PHASE",
        "VERDICT",
        "SIGNED",
    ]
    cells = [cell.strip() for cell in row if cell.strip()]
    assert cells == ["first", "none (accelerator none)", "2/3", "1/2", "Finished", "Incomplete", "yes"]


def test_what_is_not_known_yet_is_no_zero(status, capsys):
    assert status("-A", runs=[{"metadata": {"name": "new", "namespace": "evidence"}}]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["evidence", "new", "-", "-", "-", "Pending", "-", "-"]


def test_the_table_of_all_namespaces_says_which(status, capsys):
    other = {"metadata": {"name": "second", "namespace": "other"}}
    assert status("-A", runs=[RUN, other]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["NAMESPACE", "NAME"],
        ["evidence", "first"],
        ["other", "second"],
    ]
    assert status("-A", "-o", "json", runs=[RUN]) == 0
    assert json.loads(capsys.readouterr().out) == [RUN]


def test_a_list_that_may_be_cut_says_so(status, capsys):
    assert status("-A", runs=[RUN] * LISTED) == 0
    assert capsys.readouterr().err == f"at most {LISTED} runs are listed\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--wait",), "give its NAME"),
        (("first", "--timeout", "5m"), "needs --wait"),
        (("-A", "first"), "leave out NAME and -n"),
        (("-A", "-n", "evidence"), "leave out NAME and -n"),
    ],
)
def test_words_that_mean_nothing_together_are_refused(status, capsys, words: tuple[str, ...], said: str):
    assert status(*words, runs=[RUN]) == 2
    assert said in capsys.readouterr().err


def test_a_name_that_no_run_can_have_is_said_to_be_one(status, capsys):
    assert status("first/../second", runs=[RUN]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("E1408 default/first/../second: no run and no namespace can have this name\n")
    assert shown.endswith("fix:   evr status -A\n")
