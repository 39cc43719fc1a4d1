# SPDX-License-Identifier: Apache-2.0
"""The cluster as the command line sees it: a kubeconfig, a small API server, and every kind of failure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_server import QuietHandler, serving

from evidencerun import __version__
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.sync import KubeconfigCluster, run_path

RUN = "/apis/evidencerun.dev/v1alpha1/namespaces/lab/evidenceruns/demo"


@dataclass
class Api:
    """An API server that gives one answer to everything and remembers what was asked."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    before: Callable[[], None] = lambda: None
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()

    class Handler(QuietHandler):
        def answer(self) -> None:
            made.asked.append(
                (self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, self.body())
            )
            made.before()
            self.reply(made.status, made.body, {"Content-Type": "application/json"})

    with serving(Handler) as made.url:
        yield made


def kubeconfig(folder: Path, server: str, **changes: Any) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "the-token"}}],
        "contexts": [
            {"name": "first", "context": {"cluster": "c", "user": "u", "namespace": "lab"}},
            {"name": "second", "context": {"cluster": "c", "user": "u"}},
        ],
        "current-context": "first",
    } | changes
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture
def cluster(api: Api, tmp_path: Path) -> Iterator[KubeconfigCluster]:
    connected = KubeconfigCluster.from_kubeconfig(kubeconfig(tmp_path, api.url))
    yield connected
    connected._api.rest_client.pool_manager.clear()


@pytest.mark.parametrize(("context", "namespace"), [(None, "lab"), ("first", "lab"), ("second", "default")])
def test_the_namespace_is_the_contexts(tmp_path: Path, context: str | None, namespace: str) -> None:
    found = KubeconfigCluster.from_kubeconfig(kubeconfig(tmp_path, "http://127.0.0.1:1"), context)
    assert (found.namespace, found.context) == (namespace, context or "first")


def test_a_context_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        KubeconfigCluster.from_kubeconfig(kubeconfig(tmp_path, "http://127.0.0.1:1"), "third")
    assert (caught.value.code, caught.value.why) == ("E1401", "it has: first, second")


@pytest.mark.parametrize("text", ["", "[]", "a: [", "clusters: 1\n"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        KubeconfigCluster.from_kubeconfig(str(path))
    assert (caught.value.code, caught.value.where) == ("E1401", str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        KubeconfigCluster.from_kubeconfig(str(tmp_path / "none"))
    assert caught.value.code == "E1401"


def test_a_call_says_who_comes(cluster: KubeconfigCluster, api: Api) -> None:
    api.body = b'{"kind": "EvidenceRun"}'
    assert cluster.get(f"{RUN}?resourceVersion=0") == {"kind": "EvidenceRun"}
    ((method, path, headers, _),) = api.asked
    assert (method, path) == ("GET", f"{RUN}?resourceVersion=0")
    assert headers["authorization"] == "Bearer the-token"
    assert headers["user-agent"] == f"evr/{__version__}"


def test_what_is_created_is_checked_strictly(cluster: KubeconfigCluster, api: Api) -> None:
    cluster.create("/apis/x/v1/things", {"kind": "Thing"})
    ((method, path, _, body),) = api.asked
    assert (method, path) == ("POST", "/apis/x/v1/things?fieldValidation=Strict&fieldManager=evr")
    assert json.loads(body) == {"kind": "Thing"}


@pytest.mark.parametrize(("status", "code"), [(401, "E3003"), (403, "E3004"), (404, "E3005"), (422, "E3007")])
def test_a_refusal_repeats_the_apis_words(cluster: KubeconfigCluster, api: Api, status: int, code: str) -> None:
    api.status, api.body = status, b'{"kind": "Status", "reason": "Because", "message": "its own words"}'
    with pytest.raises(ClusterError) as caught:
        cluster.get(RUN)
    assert (caught.value.code, caught.value.status, caught.value.reason) == (code, status, "Because")
    assert (caught.value.why, caught.value.where) == ("its own words", f"GET {RUN}")


@pytest.mark.parametrize(("body", "words"), [(b"<html>", "<html>"), (b"", "HTTP 404"), (b"[1]", "[1]")])
def test_a_refusal_of_somebody_between_us_has_his_words(
    cluster: KubeconfigCluster, api: Api, body: bytes, words: str
) -> None:
    api.status, api.body = 404, body
    with pytest.raises(ClusterError) as caught:
        cluster.get(RUN)
    assert caught.value.why == words


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b"[" * 100_000])
def test_an_answer_that_is_no_object_is_a_fault_of_the_server(
    cluster: KubeconfigCluster, api: Api, body: bytes
) -> None:
    api.body = body
    with pytest.raises(ClusterError) as caught:
        cluster.get(RUN)
    assert caught.value.code == "E3010"


def test_bytes_are_given_as_they_are_and_bounded(cluster: KubeconfigCluster, api: Api) -> None:
    api.body = b"\x1f\x8b not inflated"
    assert cluster.get_bytes("/x", max_bytes=len(api.body)) == api.body
    with pytest.raises(ClusterError) as caught:
        cluster.get_bytes("/x", max_bytes=len(api.body) - 1)
    assert (caught.value.code, caught.value.retryable) == ("E3010", False)


def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    cluster = KubeconfigCluster.from_kubeconfig(kubeconfig(tmp_path, "http://127.0.0.1:1"))
    with pytest.raises(ClusterError) as caught:
        cluster.get(RUN)
    assert caught.value.code == "E3001"
    assert "http://127.0.0.1:1" in caught.value.what


def test_a_server_that_is_silent_was_not_away(cluster: KubeconfigCluster, api: Api) -> None:
    api.before = lambda: time.sleep(0.5)
    with pytest.raises(ClusterError) as caught:
        cluster.get_bytes(RUN, max_bytes=100, timeout=0.05)  # type: ignore[arg-type]
    assert caught.value.code == "E3002"


def test_the_path_of_a_run() -> None:
    assert run_path("lab", "demo") == RUN
    assert run_path("lab") == RUN.removesuffix("/demo")
    with pytest.raises(InputError) as caught:
        run_path("lab", "../../nodes")
    assert caught.value.code == "E1408"
