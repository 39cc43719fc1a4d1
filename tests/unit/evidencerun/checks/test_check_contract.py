# SPDX-License-Identifier: Apache-2.0
"""The container contract as a check pod sees it, with a small HTTPS API server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from local_server import QuietHandler, self_signed, serving

from evidencerun import limits
from evidencerun.checks import main as checks_main
from evidencerun.checks.checkresult import EXIT_CODES, CheckResult, Ending, emit, shortened
from evidencerun.checks.main import run
from evidencerun.errors import ClusterError
from evidencerun.kube import incluster
from evidencerun.kube.base import PODS
from evidencerun.kube.incluster import InClusterReader, reader_from_pod
from evidencerun.validation.storeapi import CheckStatus

RECIPE = """\
apiVersion: aicr.run/v1
kind: RecipeResult
metadata:
  version: v0.1.0
criteria:
  service: any
  accelerator: any
componentRefs:
  - name: demo-web
    type: Helm
    namespace: demo
    expectedResources:
      - kind: ConfigMap
        name: settings
        namespace: demo
deploymentOrder:
  - demo-web
"""


@dataclass
class FakeApi:
    """Answers by path; what is not there is a 404."""

    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    port: int = 0
    folder: Path = Path()
    reply: Callable[[str], tuple[int, object]] | None = None

    def environ(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}


@contextlib.contextmanager
def _api(folder: Path) -> Iterator[FakeApi]:
    api = FakeApi(folder=folder)

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            api.asked.append(self.path)
            api.tokens.add(self.headers["Authorization"])
            absent = (404, {"kind": "Status", "message": "not found", "reason": "NotFound"})
            status, body = api.reply(self.path) if api.reply else api.answers.get(self.path, absent)
            self.reply(status, body if isinstance(body, bytes) else json.dumps(body).encode())

    pem, authority = self_signed(folder)
    (folder / "ca.crt").write_text(authority)
    with serving(Handler, pem) as url:
        api.port = urlsplit(url).port or 0
        yield api


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("the-token\n")
    with _api(folder) as server:
        whole = incluster.reader_from_pod

        def reader(environ: dict[str, str]) -> InClusterReader:
            found = whole(environ, folder=folder)
            found._sleep = lambda _: None
            readers.append(found)
            return found

        readers: list[InClusterReader] = []
        monkeypatch.setattr(incluster, "reader_from_pod", reader)
        yield server
        for found in readers:
            found.close()


@pytest.fixture
def pod(tmp_path: Path) -> dict[str, str]:
    """The variables of a check's container."""
    (tmp_path / "results").mkdir()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return {
        "AICR_RECIPE_PATH": str(tmp_path / "recipe.yaml"),
        "EVIDENCERUN_NODES_PATH": str(tmp_path / "nodes.json"),
        "EVIDENCERUN_RESULTS": str(tmp_path / "results"),
        "EVIDENCERUN_TERMINATION_LOG": str(tmp_path / "termination-log"),
    }


def ended(environ: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run a check; return exit code, stdout and termination message."""
    out = io.StringIO()
    code = run(arguments, environ, out)
    return code, out.getvalue(), Path(environ["EVIDENCERUN_TERMINATION_LOG"]).read_text()


NAMESPACE = (200, {"metadata": {"name": "demo"}, "status": {"phase": "Active"}})


def test_a_pass_is_exit_0_with_findings(api: FakeApi, pod: dict[str, str]) -> None:
    api.answers = {
        "/api/v1/namespaces/demo": NAMESPACE,
        "/api/v1/namespaces/demo/configmaps/settings": (200, {"metadata": {"name": "settings"}}),
    }
    code, stdout, message = ended(pod | api.environ(), "expected-resources")
    assert (code, message) == (0, "all 2 expected objects are ready")
    assert "RESULT: ConfigMap demo/settings (demo-web): ready, expected exists, found exists\n" in stdout
    assert api.tokens == {"Bearer the-token"}
    results = Path(pod["EVIDENCERUN_RESULTS"])
    assert sorted(path.name for path in results.iterdir()) == ["details.json", "images.json"]


def test_a_failure_is_exit_1_and_names_the_object(api: FakeApi, pod: dict[str, str]) -> None:
    api.answers = {"/api/v1/namespaces/demo": NAMESPACE}
    code, _, message = ended(pod | api.environ(), "expected-resources")
    assert code == 1
    assert "ConfigMap demo/settings" in message


def test_a_missing_right_is_exit_3_never_a_verdict(api: FakeApi, pod: dict[str, str]) -> None:
    refused = {"kind": "Status", "reason": "Forbidden", "message": "configmaps is forbidden: User cannot get"}
    api.answers = {
        "/api/v1/namespaces/demo": NAMESPACE,
        "/api/v1/namespaces/demo/configmaps/settings": (403, refused),
    }
    code, _, message = ended(pod | api.environ(), "expected-resources")
    assert code == 3
    assert "could not look" in message
    assert "configmaps is forbidden" in message


def test_a_server_that_fails_is_asked_again_then_exit_3(api: FakeApi, pod: dict[str, str]) -> None:
    api.answers = {"/api/v1/namespaces/demo": (503, {"message": "etcd is away"})}
    code, _, message = ended(pod | api.environ(), "expected-resources")
    assert code == 3
    assert "etcd is away" in message
    assert len(api.asked) == 6


def test_a_server_that_recovers_is_no_failure(api: FakeApi, pod: dict[str, str]) -> None:
    replies = iter([(500, {}), (429, {}), NAMESPACE, (200, {"metadata": {}})])
    api.reply = lambda _: next(replies)
    assert ended(pod | api.environ(), "expected-resources")[0] == 0


def test_nothing_declared_is_exit_2_with_its_reason_and_asks_nobody(pod: dict[str, str], tmp_path: Path) -> None:
    head, _, _ = RECIPE.partition("componentRefs")
    (tmp_path / "recipe.yaml").write_text(f"{head}componentRefs: []\ndeploymentOrder: []\n")
    code, stdout, message = ended(pod, "expected-resources")
    assert code == 2
    assert '##AICR-EXTRA## {"skipReason": "nothing-declared"}\n' in stdout
    assert message.startswith("skipped (nothing-declared): ")


@pytest.mark.parametrize("arguments", [(), ("expected-resource",), ("--help",)])
def test_an_unknown_check_is_exit_3_with_the_list(pod: dict[str, str], arguments: tuple[str, ...]) -> None:
    code, _, message = ended(pod, *arguments)
    assert code == 3
    assert "expected-resources, node-agreement" in message


def test_a_recipe_that_does_not_parse_is_exit_3(pod: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("kind: Pod")
    assert ended(pod, "expected-resources")[0] == 3


def test_a_recipe_without_end_is_exit_3_and_not_read_to_its_end(pod: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "recipe.yaml").open("wb") as file:
        file.truncate(limits.CHECK_INPUT_MAX)
    code, _, message = ended(pod, "expected-resources")
    assert code == 3
    assert f"{limits.RECIPE_MAX + 1} bytes found" in message


def test_missing_inputs_are_exit_3(pod: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").unlink()
    assert ended(pod, "expected-resources")[0] == 3
    assert ended(pod, "node-agreement")[0] == 3


def test_a_pod_without_api_access_is_exit_3_with_its_fix(pod: dict[str, str]) -> None:
    code, _, message = ended(pod | {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, "expected-resources")
    assert code == 3
    assert "aicr-read" in message


def test_an_error_of_ours_is_exit_3_not_1(pod: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> CheckResult:
        raise KeyError("oops")

    monkeypatch.setitem(checks_main.CHECKS, "node-agreement", broken)  # type: ignore[arg-type]
    code, _, message = ended(pod, "node-agreement")
    assert code == 3
    assert "says nothing of the cluster" in message


def test_results_that_cannot_be_left_are_exit_3(pod: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "nodes.json").write_text('{"nodes": []}')
    pod["EVIDENCERUN_RESULTS"] = str(tmp_path / "none")
    assert ended(pod, "node-agreement")[0] == 3


def test_the_words_are_those_of_the_store() -> None:
    assert {ending.value for ending in EXIT_CODES} == {status.value for status in CheckStatus} - {"pending"}


def test_a_check_of_the_api_starts_without_pydantic() -> None:
    script = (
        "import sys\nimport evidencerun.checks.main\nimport evidencerun.checks.expected_resources\n"
        "import evidencerun.kube.incluster\nprint(sorted({'pydantic', 'httpx', 'kubernetes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sigterm_ends_a_check_without_a_verdict(pod: dict[str, str]) -> None:
    os.mkfifo(pod["EVIDENCERUN_NODES_PATH"])
    program = subprocess.Popen(
        [sys.executable, "-m", "evidencerun.checks.main", "node-agreement"], env={"PATH": os.environ["PATH"]} | pod
    )
    with Path(pod["EVIDENCERUN_NODES_PATH"]).open("w"):  # opens when the check has begun to read
        program.terminate()
        assert program.wait(timeout=60) == 143
    assert not Path(pod["EVIDENCERUN_TERMINATION_LOG"]).exists()


# --- message ---------------------------------------------------------------------------------------------------------


def test_a_long_message_keeps_whole_lines_and_says_how_many_more() -> None:
    text = "\n".join(f"- line {number} ä" for number in range(1000))
    data = shortened(text, 4096)
    assert len(data) <= 4096
    lines = data.decode().splitlines()
    assert lines[-1] == f"... and {1000 - len(lines) + 1} more lines"


@pytest.mark.parametrize("most", [64, 4096])
def test_one_line_that_is_too_long_is_cut_at_a_character(most: int) -> None:
    data = shortened("ä" * 5000, most)
    assert len(data) <= most
    assert data.decode().endswith(" ...")


def test_a_termination_log_that_cannot_be_written_does_not_change_the_verdict(tmp_path: Path) -> None:
    out = io.StringIO()
    result = CheckResult(status=Ending.FAILED, message="bad")
    assert emit(result, out=out, termination_log=tmp_path / "none/log") == 1
    assert "cannot be written" in out.getvalue()


def test_a_finding_is_one_line_whatever_it_holds(tmp_path: Path) -> None:
    out = io.StringIO()
    result = CheckResult(status=Ending.PASSED, message="ok", lines=("a\n##AICR-EXTRA## {}",))
    emit(result, out=out, termination_log=tmp_path / "log")
    assert out.getvalue() == "RESULT: a ##AICR-EXTRA## {}\nok\n"


# --- the reader ------------------------------------------------------------------------------------------------------


def test_lists_are_read_page_by_page(api: FakeApi) -> None:
    pages = {"": ([{"n": 1}], "next"), "next": ([{"n": 2}], "")}

    def reply(path: str) -> tuple[int, object]:
        query = parse_qs(urlsplit(path).query)
        assert query["labelSelector"] == ["app=web"]
        items, token = pages[query.get("continue", [""])[0]]
        return 200, {"items": items, "metadata": {"continue": token}}

    api.reply = reply
    reader = incluster.reader_from_pod(api.environ())
    assert list(reader.list(PODS, namespace="demo", label_selector="app=web")) == [{"n": 1}, {"n": 2}]


def test_a_list_without_end_is_an_error(api: FakeApi) -> None:
    api.reply = lambda _: (200, {"items": [], "metadata": {"continue": "more"}})
    reader = incluster.reader_from_pod(api.environ())
    with pytest.raises(ClusterError) as caught:
        list(reader.list(PODS, namespace="demo", label_selector="app=web"))
    assert caught.value.code == "E3010"


def test_an_answer_without_end_is_cut_off_and_not_asked_for_again(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KUBE_OBJECT_MAX", 1000)
    api.reply = lambda _: (200, b" " * 2000)
    with pytest.raises(ClusterError) as caught:
        incluster.reader_from_pod(api.environ()).get(PODS, "x", namespace="demo")
    assert (caught.value.code, caught.value.retryable) == ("E3010", False)
    assert len(api.asked) == 1


@pytest.mark.parametrize("body", [b"no json", b"[]"])
def test_an_answer_that_is_no_object_is_an_error(api: FakeApi, body: bytes) -> None:
    api.reply = lambda _: (200, body)
    with pytest.raises(ClusterError) as caught:
        incluster.reader_from_pod(api.environ()).get(PODS, "x", namespace="demo")
    assert caught.value.code == "E3010"


@pytest.mark.parametrize("environ", [{}, {"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "x"}])
def test_outside_a_pod_there_is_no_api(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as caught:
        reader_from_pod(environ, folder=tmp_path)
    assert caught.value.code == "E3011"
