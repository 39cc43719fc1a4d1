# SPDX-License-Identifier: Apache-2.0
"""`evr pull` against an API server of a few lines: what it fetches, where the key of the logs comes from."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from click.testing import CliRunner

from evidencerun.bundle.archive import write_archive
from evidencerun.cli import app
from evidencerun.cli.cmd_pull import pull
from evidencerun.cli.exits import Exit
from evidencerun.cli.run_objects import LISTED
from evidencerun.errors import InputError
from evidencerun.kube.base import http_fault
from evidencerun.kube.sync import KubeconfigCluster

BUNDLE, LOGS, KEY = b"a bundle", b"some logs", "0123456789abcdef" * 2
PROXY = "/api/v1/namespaces/evidencerun-system/services/https:evidence-store:443/proxy/v1"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class FakeCluster:
    """One sealed run, as the operator writes it: the logs' key stands only in a literal command."""

    namespace = "evidence"

    def __init__(self, bundle: dict[str, Any]) -> None:
        self._bundle = bundle

    def get(self, path: str) -> dict[str, Any]:
        return {"metadata": {"name": path.rsplit("/", 1)[-1]}, "status": {"bundle": self._bundle}}

    def get_bytes(self, path: str, **_: Any) -> bytes:
        return {f"{PROXY}/bundles/{digest(BUNDLE)}": BUNDLE, f"{PROXY}/logs/{KEY}": LOGS}[path]


def pulled(monkeypatch, tmp_path, bundle: dict[str, Any], *words: str):
    monkeypatch.setattr(KubeconfigCluster, "from_kubeconfig", lambda *_: FakeCluster(bundle))
    arguments = ["run-1", "-d", str(tmp_path), *words]
    return CliRunner().invoke(pull, arguments, standalone_mode=False, catch_exceptions=False)


def test_logs_are_fetched_with_the_key_of_the_literal_command(monkeypatch, tmp_path):
    command = f"kubectl get --raw {PROXY}/logs/{KEY} > evidence-logs.tar.gz"
    bundle = {"archiveDigest": digest(BUNDLE), "logsDigest": digest(LOGS), "fetchLogs": command}
    pulled(monkeypatch, tmp_path, bundle, "--logs")
    assert (tmp_path / "bundle.tar.gz").read_bytes() == BUNDLE
    assert (tmp_path / "evidence-logs.tar.gz").read_bytes() == LOGS


def test_bundled_logs_have_no_archive_of_their_own(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="no separate log archive"):
        pulled(monkeypatch, tmp_path, {"archiveDigest": digest(BUNDLE)}, "--logs")


KEY_PEM = "-----BEGIN PUBLIC KEY-----"


class Cluster:
    """An API server with chosen answers; anything else is not found."""

    namespace = "evidence"

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def get(self, path: str) -> dict[str, Any]:
        if path not in self._answers:
            raise http_fault(status=404, reason="NotFound", message="not found", where=f"GET {path}")
        return self._answers[path]

    def get_bytes(self, path: str, **_: Any) -> bytes:
        return self.get(path)  # type: ignore[return-value]


RUNS = "/apis/evidencerun.dev/v1alpha1/namespaces/evidence/evidenceruns"
FETCH = f"{PROXY}/bundles/{digest(BUNDLE)}"
CONFIG_MAP = "/api/v1/namespaces/evidencerun-system/configmaps/evidence-public"


def run_with(**status: Any) -> dict[str, Any]:
    return {f"{RUNS}/run-1": {"metadata": {"name": "run-1"}, "status": status}}


SEALED = run_with(bundle={"archiveDigest": digest(BUNDLE), "signer": "key:sha256:0"})


@pytest.fixture
def evr_pull(monkeypatch, tmp_path):
    """evr_pull(answers, words) is the exit code of `evr pull run-1` into tmp_path."""

    def called(answers: dict[str, Any], *words: str) -> int:
        monkeypatch.setattr(KubeconfigCluster, "from_kubeconfig", lambda *_: Cluster(answers))
        return app.run(["pull", "run-1", "-d", str(tmp_path), *words])

    return called


def test_a_run_that_does_not_exist_is_a_wrong_call_that_names_those_that_do(evr_pull, tmp_path, capsys):
    there = {f"{RUNS}?limit={LISTED}": {"items": [{"metadata": {"name": "run-2"}}]}}
    assert evr_pull(there) == Exit.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "E1409 namespace evidence has no EvidenceRun run-1\n"
        "  cause: it has: run-2\n"
        "  fix:   evr status -n NAMESPACE, or evr status -A for all namespaces\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "cause", "fix"),
    [
        ({"phase": "Checking"}, "it is still Checking", "evr status --wait -n evidence run-1"),
        ({}, "it is still Pending", "evr status --wait -n evidence run-1"),
        (
            {"phase": "Finished", "verdict": "Rejected", "conditions": [{"type": "Complete", "status": "True"}]},
            "it ended as Rejected",
            "evr status -n evidence run-1",
        ),
    ],
)
def test_a_run_without_a_bundle_says_whether_one_may_come(evr_pull, capsys, status, cause, fix):
    assert evr_pull(run_with(**status)) == Exit.USAGE
    shown = capsys.readouterr().err
    assert cause in shown
    assert shown.endswith(f"fix:   {fix}\n")


def test_a_bundle_that_the_store_has_no_more(evr_pull, tmp_path, capsys):
    assert evr_pull(SEALED) == Exit.NO_VERDICT
    shown = capsys.readouterr().err
    assert "the evidence store does not have it (any more)" in shown
    assert "--system-namespace" in shown
    assert list(tmp_path.iterdir()) == []


def test_other_bytes_than_those_of_the_status_are_not_written(evr_pull, tmp_path, capsys):
    assert evr_pull({**SEALED, FETCH: b"other"}) == Exit.INVALID
    assert "E2003" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_key_and_where_it_is_missing(evr_pull, tmp_path, capsys):
    answers = {**SEALED, FETCH: BUNDLE}
    assert evr_pull({**answers, CONFIG_MAP: {"data": {"signing.pub": KEY_PEM}}}, "--key") == Exit.ACCEPTED
    assert (tmp_path / "evidence.pub").read_text() == KEY_PEM
    assert evr_pull({**answers, CONFIG_MAP: {}}, "--key") == Exit.USAGE
    assert "kubectl logs -n evidencerun-system deploy/evidence-sealer" in capsys.readouterr().err
    assert evr_pull(answers, "--key") == Exit.NO_VERDICT
    assert "has no ConfigMap evidence-public" in capsys.readouterr().err


def test_an_unsigned_bundle_is_written_and_said_to_be_unsigned(evr_pull, capsys):
    unsigned = run_with(bundle={"archiveDigest": digest(BUNDLE)})
    assert evr_pull({**unsigned, FETCH: BUNDLE}) == Exit.ACCEPTED
    assert "NOT SIGNED" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(evr_pull, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert evr_pull({**SEALED, FETCH: BUNDLE}, "-d", str(tmp_path / "file" / "below")) == Exit.USAGE
    assert capsys.readouterr().err.startswith(f"E1431 {tmp_path / 'file' / 'below'}: a file cannot be written")


def test_unpacking_beside_another_bundle_is_refused(evr_pull, tmp_path, capsys):
    data = write_archive({"manifest.json": b"{}", "ctrf/deployment.json": b"{}"}, 0)
    answers = {
        **run_with(bundle={"archiveDigest": digest(data), "signer": "k"}),
        f"{PROXY}/bundles/{digest(data)}": data,
    }
    assert evr_pull(answers, "--unpack") == Exit.ACCEPTED
    assert evr_pull(answers, "--unpack") == Exit.ACCEPTED, "the same bundle once more changes nothing"
    (tmp_path / "bundle/ctrf/performance.json").write_bytes(b"of another run")
    assert evr_pull(answers, "--unpack") == Exit.USAGE
    assert "ctrf/performance.json is not in this bundle" in capsys.readouterr().err
