# SPDX-License-Identifier: Apache-2.0
"""Delivery to a claim, settings, and the message that the operator reads. Registries: tests/integration."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import signal
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun import limits
from evidencerun.deliver import main as deliver_main
from evidencerun.deliver.main import run
from evidencerun.deliver.ocipush import deliver_to_registry, read_artifact, registry_access, require_subject, tag_for
from evidencerun.deliver.outcome import Delivered, Outcome, Undelivered
from evidencerun.deliver.pvc import deliver_to_pvc
from evidencerun.deliver.settings import OciTarget, PvcTarget, deliver_settings
from evidencerun.deliver.storeparts import Part, StoreParts
from evidencerun.errors import EvidenceError, InputError, StoreError, WorldError
from evidencerun.oci.reference import Repository
from evidencerun.storeclient import Clock, Download, Endpoint, StepLog, StoreClient, StoreRefusedError

ARCHIVE, LOGS = b"the archive", b"the logs"
KEY = "0" * 32


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def part(folder: Path, name: str, data: bytes) -> Part:
    path = folder / name
    path.write_bytes(data)
    return Part(path=path, digest=digest(data), size=len(data))


def quiet() -> StepLog:
    return StepLog("deliver", now=lambda: "then", out=io.StringIO())


# --- claims ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def target(tmp_path: Path) -> PvcTarget:
    (tmp_path / "claim").mkdir()
    return PvcTarget(mount=tmp_path / "claim", path="runs/nightly")


def test_archive_and_logs_are_written_whole(tmp_path: Path, target: PvcTarget) -> None:
    archive, logs = part(tmp_path, "a", ARCHIVE), part(tmp_path, "l", LOGS)
    folder = deliver_to_pvc(target, "first", archive, logs)
    assert folder == f"runs/nightly/first-{archive.digest[7:19]}"
    place = target.mount / folder
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        "bundle.tar.gz": ARCHIVE,
        "evidence-logs.tar.gz": LOGS,
    }


def test_a_second_delivery_finds_its_own_files(tmp_path: Path, target: PvcTarget) -> None:
    archive = part(tmp_path, "a", ARCHIVE)
    first = deliver_to_pvc(target, "first", archive, None)
    before = (target.mount / first / "bundle.tar.gz").stat()
    assert deliver_to_pvc(target, "first", archive, None) == first
    after = (target.mount / first / "bundle.tar.gz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("kind", ["other", "link", "folder"])
def test_something_else_is_never_overwritten(tmp_path: Path, target: PvcTarget, kind: str) -> None:
    archive = part(tmp_path, "a", ARCHIVE)
    place = target.mount / f"runs/nightly/first-{archive.digest[7:19]}"
    place.mkdir(parents=True)
    file = place / "bundle.tar.gz"
    {
        "other": lambda: file.write_bytes(b"mine"),
        "link": lambda: file.symlink_to(archive.path),
        "folder": file.mkdir,
    }[kind]()
    with pytest.raises(InputError) as caught:
        deliver_to_pvc(target, "first", archive, None)
    assert caught.value.code == "E7304"
    assert [path.name for path in place.iterdir()] == ["bundle.tar.gz"]
    assert kind != "other" or file.read_bytes() == b"mine"


def test_a_claim_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldError) as caught:
        deliver_to_pvc(PvcTarget(mount=tmp_path / "none", path="runs"), "first", part(tmp_path, "a", ARCHIVE), None)
    assert caught.value.code == "E7302"
    assert "kubectl get pvc" in caught.value.fix


def test_a_claim_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path, target: PvcTarget) -> None:
    (target.mount / "runs").write_text("a file where a folder should be")
    with pytest.raises(WorldError) as caught:
        deliver_to_pvc(target, "first", part(tmp_path, "a", ARCHIVE), None)
    assert caught.value.code == "E7303"


def test_a_write_that_went_wrong_leaves_nothing(tmp_path: Path, target: PvcTarget) -> None:
    archive = part(tmp_path, "a", ARCHIVE)
    lying = Part(path=archive.path, digest=digest(b"other"), size=1)
    with pytest.raises(WorldError) as caught:
        deliver_to_pvc(target, "first", lying, None)
    assert caught.value.code == "E7303"
    assert [path for path in target.mount.rglob("*") if path.is_file()] == []


# --- the store's parts -----------------------------------------------------------------------------------------------


class FakeStore(StoreClient):
    """Gives parts by URL; a list of answers is worked off, an error in it is raised."""

    def __init__(self, answers: dict[str, list[bytes | StoreError]]) -> None:
        super().__init__(Endpoint(url="http://127.0.0.1:1"))
        self.answers = answers
        self.asked: list[str] = []

    def download(self, path: str, target: BinaryIO, *, max_bytes: int) -> Download:
        self.asked.append(path)
        left = self.answers.get(path, [])
        answer = left.pop(0) if left else StoreRefusedError("none", status=404, retry_after=0, why="")
        if isinstance(answer, StoreError):
            raise answer
        target.write(answer)
        return Download(digest=digest(answer), size=len(answer))


def parts(tmp_path: Path, answers: dict[str, list[bytes | StoreError]]) -> tuple[StoreParts, FakeStore]:
    store = FakeStore(answers)
    clock = Clock(monotonic=lambda: 0.0, sleep=lambda _: None, uniform=lambda low, high: high)
    return StoreParts(store, digest(ARCHIVE), tmp_path, clock=clock, log=quiet()), store


ARCHIVE_URL = f"/v1/bundles/{digest(ARCHIVE)}"


def test_parts_are_fetched_once_and_checked(tmp_path: Path) -> None:
    found, store = parts(tmp_path, {ARCHIVE_URL: [ARCHIVE], f"/v1/logs/{KEY}": [LOGS]})
    assert found.archive() == found.archive()
    assert found.logs(KEY, digest(LOGS)).path.read_bytes() == LOGS
    assert store.asked == [ARCHIVE_URL, f"/v1/logs/{KEY}"]


def test_a_part_with_other_bytes_is_refused(tmp_path: Path) -> None:
    found, _ = parts(tmp_path, {ARCHIVE_URL: [b"something else"]})
    with pytest.raises(EvidenceError) as caught:
        found.archive()
    assert caught.value.code == "E7310"


def test_a_store_that_restarts_is_waited_for(tmp_path: Path) -> None:
    down = StoreError("E7001", "down")
    found, store = parts(tmp_path, {ARCHIVE_URL: [down, down, ARCHIVE]})
    assert found.archive().size == len(ARCHIVE)
    assert len(store.asked) == 3


def test_a_bundle_that_the_store_does_not_have_is_not_waited_for(tmp_path: Path) -> None:
    found, store = parts(tmp_path, {})
    with pytest.raises(StoreRefusedError):
        found.archive()
    assert len(store.asked) == 1


def test_an_unsigned_bundle_has_no_attestation(tmp_path: Path) -> None:
    found, _ = parts(tmp_path, {})
    assert found.attestation() is None


# --- the artifact ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"layers": []},
        {"layers": [{}, {}], "config": {}},
        {"layers": [{"digest": "sha256:1", "size": 1}], "config": {"digest": digest(b"{}"), "size": 2}},
        {"layers": [{"digest": digest(b""), "size": "1"}], "config": {"digest": digest(b"{}"), "size": 2}},
    ],
)
def test_manifests_of_another_shape_are_refused(tmp_path: Path, document: object) -> None:
    with pytest.raises(EvidenceError) as caught:
        read_artifact(part(tmp_path, "m", json.dumps(document).encode()))
    assert caught.value.code == "E7312"


def test_a_manifest_that_is_no_json_is_the_evidences_fault(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError) as caught:
        read_artifact(part(tmp_path, "m", b"{"))
    assert caught.value.code == "E7312"


def test_a_manifest_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with path.open("wb") as file:
        file.truncate(limits.BUNDLE_ARCHIVE_MAX)
    tracemalloc.start()
    try:
        with pytest.raises(WorldError) as caught:
            read_artifact(Part(path=path, digest=digest(b""), size=limits.BUNDLE_ARCHIVE_MAX))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "E7311"
    assert peak < 4 * limits.OCI_MANIFEST_MAX


def attestation(*subjects: str) -> bytes:
    statement = {"subject": [{"digest": {"sha256": subject}} for subject in subjects]}
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps({"dsseEnvelope": {"payload": payload}}).encode()


def test_a_signature_over_the_manifest_is_accepted(tmp_path: Path) -> None:
    require_subject(part(tmp_path, "a", attestation("b" * 64, "a" * 64)), "sha256:" + "a" * 64)


@pytest.mark.parametrize(
    "data",
    [
        attestation(),
        attestation("b" * 64),
        b"",
        b"[]",
        b"{}",
        b'{"dsseEnvelope": {"payload": "!"}}',
        b'{"dsseEnvelope": {"payload": "e30="}}',
        '{"dsseEnvelope": {"payload": "é"}}'.encode(),
        b'{"dsseEnvelope": []}',
    ],
)
def test_a_signature_over_something_else_is_not_attached(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(EvidenceError) as caught:
        require_subject(part(tmp_path, "a", data), "sha256:" + "a" * 64)
    assert caught.value.code == "E7313"


def test_nothing_is_pushed_with_a_signature_over_something_else(tmp_path: Path) -> None:
    blob = {"digest": digest(b"{}"), "size": 2}
    manifest = json.dumps({"layers": [blob], "config": blob}).encode()
    found, _ = parts(
        tmp_path,
        {f"{ARCHIVE_URL}/oci/manifest": [manifest], f"{ARCHIVE_URL}/oci/attestation": [attestation("b" * 64)]},
    )
    target = OciTarget(repository="localhost:1/e", plain_http=True, secret_name="", secret=tmp_path)
    settings = deliver_settings(
        environ(
            EVIDENCERUN_OCI_REPOSITORY=target.repository,
            EVIDENCERUN_MANIFEST_DIGEST=digest(manifest),
            EVIDENCERUN_INVENTORY_DIGEST=digest(b"i"),
        )
    )
    with pytest.raises(EvidenceError) as caught:
        deliver_to_registry(settings, target, found, quiet())
    assert caught.value.code == "E7313"


@given(st.text(max_size=300))
def test_any_recipe_name_gives_a_tag(name: str) -> None:
    tag = tag_for(name, "sha256:" + "ab" * 32)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag), "the distribution specification's rule"
    assert tag.endswith("-abababababab")
    assert len(tag) <= 80 + 1 + 12


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("h100-eks-ubuntu-training", "h100-eks-ubuntu-training-abababababab"),
        ("Mein Rezept!", "mein-rezept-abababababab"),
        ("", "recipe-abababababab"),
        ("x" * 100, "x" * 80 + "-abababababab"),
    ],
)
def test_tags_of_recipes(name: str, tag: str) -> None:
    assert tag_for(name, "sha256:" + "ab" * 32) == tag


REPOSITORY = Repository(registry="registry.example.com", path="team/evidence")


def oci_target(secret: Path, name: str = "push") -> OciTarget:
    return OciTarget(repository=str(REPOSITORY), plain_http=False, secret_name=name, secret=secret)


def test_a_secret_that_does_not_exist_is_named_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        registry_access(oci_target(tmp_path / "none"), REPOSITORY)
    assert caught.value.code == "E7305"
    assert caught.value.fix.startswith("kubectl create secret docker-registry push")


def test_a_secret_for_another_registry_is_named(tmp_path: Path) -> None:
    (tmp_path / ".dockerconfigjson").write_text('{"auths": {"other.example.com": {"auth": "dTpw"}}}')
    with pytest.raises(InputError) as caught:
        registry_access(oci_target(tmp_path), REPOSITORY)
    assert caught.value.code == "E7306"


def test_without_a_secret_the_push_is_anonymous(tmp_path: Path) -> None:
    access = registry_access(oci_target(tmp_path, name=""), REPOSITORY)
    assert access.credentials.username == ""


# --- settings and outcome --------------------------------------------------------------------------------------------


def environ(**changes: str) -> dict[str, str]:
    return {
        "EVIDENCERUN_STORE_URL": "http://127.0.0.1:1",
        "EVIDENCERUN_RUN_NAME": "first",
        "EVIDENCERUN_ARCHIVE_DIGEST": digest(ARCHIVE),
        "EVIDENCERUN_PVC_PATH": "runs",
    } | changes


def test_settings_of_a_pvc_alone_need_no_digests_of_the_artifact() -> None:
    settings = deliver_settings(environ())
    assert settings.oci is None
    assert settings.pvc == PvcTarget(mount=Path("/deliver"), path="runs")


@pytest.mark.parametrize(
    "changes",
    [
        {"EVIDENCERUN_PVC_PATH": ""},
        {"EVIDENCERUN_PVC_PATH": "a/../../b"},
        {"EVIDENCERUN_PVC_PATH": "/abs"},
        {"EVIDENCERUN_RUN_NAME": ""},
        {"EVIDENCERUN_ARCHIVE_DIGEST": "sha256:x"},
        {"EVIDENCERUN_OCI_REPOSITORY": "registry.example.com/e"},
        {"EVIDENCERUN_LOGS_KEY": KEY},
        {"EVIDENCERUN_LOGS_KEY": "../secret", "EVIDENCERUN_LOGS_DIGEST": digest(LOGS)},
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        deliver_settings(environ(**changes))
    assert caught.value.code == "E7301"
    outcome = run(environ(**changes), clock=Clock(), log=quiet())
    assert [item.kind for item in outcome.errors] == ["settings"]
    assert outcome.exit_code == 1


def test_an_authority_that_cannot_be_read_is_in_the_message() -> None:
    changes = {"EVIDENCERUN_STORE_URL": "https://store", "EVIDENCERUN_STORE_CA": "no certificate"}
    outcome = run(environ(**changes), clock=Clock(), log=quiet())
    assert [(item.kind, item.fault.code) for item in outcome.errors] == [("settings", "E7000")]


def test_one_target_that_fails_does_not_stop_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "claim").mkdir()
    store = FakeStore({ARCHIVE_URL: [ARCHIVE]})
    monkeypatch.setattr(deliver_main, "StoreClient", lambda _: store)
    changes = {
        "EVIDENCERUN_PVC_MOUNT": str(tmp_path / "claim"),
        "EVIDENCERUN_SCRATCH": str(tmp_path),
        "EVIDENCERUN_OCI_REPOSITORY": "registry.example.com/team/evidence",
        "EVIDENCERUN_OCI_SECRET": "missing",
        "EVIDENCERUN_REGISTRY_DIR": str(tmp_path / "none"),
        "EVIDENCERUN_MANIFEST_DIGEST": digest(b"m"),
        "EVIDENCERUN_INVENTORY_DIGEST": digest(b"i"),
    }
    outcome = run(environ(**changes), clock=Clock(), log=quiet())
    assert [(item.kind, item.ref) for item in outcome.delivered] == [("pvc", f"runs/first-{digest(ARCHIVE)[7:19]}")]
    assert [(item.kind, item.fault.code) for item in outcome.errors] == [("oci", "E7305")]
    assert outcome.exit_code == 1


def test_scratch_without_room_is_an_error_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver_main, "StoreClient", lambda _: FakeStore({ARCHIVE_URL: [ARCHIVE]}))
    outcome = run(environ(EVIDENCERUN_SCRATCH=str(tmp_path / "none")), clock=Clock(), log=quiet())
    assert [item.fault.code for item in outcome.errors] == ["E7311"]


def test_all_delivered_is_exit_0() -> None:
    assert Outcome(delivered=(Delivered(kind="pvc", ref="x"),)).exit_code == 0
    assert Outcome().exit_code == 1


@pytest.mark.parametrize("text", ["x", "\N{PILE OF POO}", '"', "\n"])
def test_the_message_always_fits_and_is_json(text: str) -> None:
    fault = InputError("E7305", text * 5000, where=text * 500, why=text * 5000, fix=text * 5000)
    outcome = Outcome(
        delivered=(Delivered(kind="oci", ref="r" * 400), Delivered(kind="pvc", ref="p" * 400)),
        errors=(Undelivered(kind="oci", fault=fault), Undelivered(kind="pvc", fault=fault)),
    )
    message = outcome.message()
    assert len(message) <= 4096
    document = json.loads(message)
    assert [error["code"] for error in document["errors"]] == ["E7305", "E7305"]
    assert [item["kind"] for item in document["delivered"]] == ["oci", "pvc"]


def test_main_writes_the_message_and_hears_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIDENCERUN_TERMINATION_LOG", str(tmp_path / "log"))
    for name in [name for name in os.environ if name.startswith("EVIDENCERUN_") and "TERMINATION" not in name]:
        monkeypatch.delenv(name)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert deliver_main.main() == 1
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143
    assert json.loads((tmp_path / "log").read_text())["errors"][0]["code"] == "E7301"
