# SPDX-License-Identifier: Apache-2.0
"""`evr pull` against an API server of a few lines: what it fetches, where the key of the logs comes from."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from click.testing import CliRunner

from evidencerun.cli.cmd_pull import pull
from evidencerun.errors import InputError
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
