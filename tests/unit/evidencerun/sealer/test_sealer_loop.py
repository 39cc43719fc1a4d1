# SPDX-License-Identifier: Apache-2.0
"""The sealer signs what it has checked itself, waits for its key, and says why it does not sign."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from composed_run import ComposedRun
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from evidencerun.attest.statement import unsigned_statement
from evidencerun.bundle import layout
from evidencerun.bundle.artifact import build_artifact
from evidencerun.bundle.assemble import assemble
from evidencerun.bundle.manifest import build_manifest
from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import EvidenceError, StoreError
from evidencerun.sealer import sealing
from evidencerun.sealer.loop import Sealer
from evidencerun.sealer.sealing import checked_manifest, seal
from evidencerun.sealer.settings import Settings
from evidencerun.signers.key import own_key
from evidencerun.validation.storeapi import SealAnswer, SealTask
from evidencerun.verify.run import verify_bundle

BUNDLE = assemble(ComposedRun().inputs())
LAYER = BUNDLE.oci_layer


def _task(manifest: bytes = BUNDLE.oci_manifest, **changes: Any) -> SealTask:
    values = {
        "run_uid": "7d3b1f7e-7f5e-4a5e-9d54-3a1b6c0d9e11",
        "manifest_digest": sha256_prefixed(manifest),
        "oci_manifest": base64.b64encode(manifest).decode(),
        "signing_mode": "key",
    }
    return SealTask.model_validate({**values, **changes})


def _edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the OCI manifest after a change."""
    document = json.loads(BUNDLE.oci_manifest)
    change(document)
    return json.dumps(document, separators=(",", ":")).encode()


class FakeStore:
    """A store in memory with one task."""

    def __init__(self, task: SealTask | None = None, layer: bytes = LAYER) -> None:
        self.task = task
        self._layer = layer
        self.answers: list[SealAnswer] = []
        self.published: list[bytes] = []
        self.down = False
        self.fetched = 0

    def _check(self) -> None:
        if self.down:
            raise StoreError("E4600", "the store cannot be reached")

    def next_task(self) -> SealTask | None:
        self._check()
        return self.task

    def layer(self, manifest_digest: str) -> bytes:
        self._check()
        self.fetched += 1
        return self._layer

    def answer(self, manifest_digest: str, answer: SealAnswer) -> None:
        self._check()
        self.answers.append(answer)
        if answer.attestation:
            self.task = None

    def publish(self, public_pem: bytes) -> None:
        self._check()
        self.published.append(public_pem)


@pytest.fixture
def notes() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def make(tmp_path: Path, notes: list[Any]) -> Any:
    def sealer(store: FakeStore, secret: str = "") -> Sealer:
        settings = Settings(
            store_url="https://store",
            store_ca=tmp_path / "ca",
            token=tmp_path / "token",
            key_folder=tmp_path / "key",
            secret_folder=tmp_path / "secret",
            secret_name=secret,
        )
        return Sealer(settings, store, lambda event, **fields: notes.append((event, fields)))

    return sealer


def _key(curve: ec.EllipticCurve) -> bytes:
    return ec.generate_private_key(curve).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_bundle_is_checked_and_signed(make: Any, notes: list[Any]) -> None:
    store = FakeStore(_task())
    sealer = make(store)
    assert sealer.step() == 0.0
    assert store.answers[0].signer.startswith("key:sha256:")
    files = {**BUNDLE.files, layout.ATTESTATION: store.answers[0].attestation.encode()}
    report = verify_bundle(files, now=datetime(2026, 9, 21, tzinfo=UTC), key_pem=store.published[0])
    assert (report.exit_code, report.subject.artifact_digest) == (0, BUNDLE.manifest_digest)
    assert sealer.step() == 1.0
    assert len(store.published) == 1
    assert [event for event, _ in notes] == ["key.published", "bundle.signed"]


def test_a_bundle_that_fails_its_duties_is_not_signed(make: Any) -> None:
    artifact = build_artifact({**BUNDLE.files, layout.BOM: b"{}"}, version="evidencerun/0.1.0")
    store = FakeStore(_task(artifact.manifest), layer=artifact.layer)
    make(store).step()
    assert not store.answers[0].attestation
    assert store.answers[0].error_code == "E2003"
    assert store.answers[0].error


MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another config": lambda m: m["config"].update(digest="sha256:" + "0" * 64),
    "another size of the config": lambda m: m["config"].update(size=3),
    "another digest of what is in the layer": lambda m: m["layers"][0]["annotations"].update(
        {"io.deis.oras.content.digest": "sha256:" + "0" * 64}
    ),
    "another type": lambda m: m.update(artifactType="application/vnd.example"),
    "another title": lambda m: m["annotations"].update({"org.opencontainers.image.title": "tested on 512 GPUs"}),
    "a subject": lambda m: m.update(subject={"digest": "sha256:" + "0" * 64}),
    "another producer": lambda m: m["annotations"].update({"org.opencontainers.image.version": "evidencerun/9.9.9"}),
    "no producer": lambda m: m["annotations"].pop("org.opencontainers.image.version"),
    "a number in another spelling": lambda m: m.update(schemaVersion=2.0),
}


@pytest.mark.parametrize("lie", MANIFESTS)
def test_the_manifest_whose_digest_is_signed_is_verified_too(make: Any, lie: str) -> None:
    store = FakeStore(_task(_edited(MANIFESTS[lie])))
    make(store).step()
    assert (store.answers[0].error_code, store.answers[0].attestation) == ("E2070", "")


def test_a_bundle_without_a_run_record_is_not_signed(make: Any) -> None:
    """Of a bundle of another producer neither match nor verdict can be derived."""
    predicate = json.loads(BUNDLE.files[layout.STATEMENT])["predicate"] | {"aicrVersion": "v0.22.0"}
    files = {path: data for path, data in BUNDLE.files.items() if path not in (layout.RUN, layout.MANIFEST)}
    files[layout.MANIFEST] = build_manifest(files)
    count = len(json.loads(files[layout.MANIFEST])["files"])
    predicate["manifest"] = {"digest": sha256_prefixed(files[layout.MANIFEST]), "fileCount": count}
    files[layout.STATEMENT] = layout.document_bytes(unsigned_statement(predicate))
    artifact = build_artifact(files, version="v0.22.0")
    store = FakeStore(_task(artifact.manifest), layer=artifact.layer)
    make(store).step()
    assert (store.answers[0].error_code, store.answers[0].attestation) == ("E4612", "")


def test_a_bundle_of_another_run_or_signing_mode_is_not_signed(make: Any) -> None:
    other = assemble(ComposedRun(policy={"signing": {"mode": "none"}}).inputs())
    for store in (FakeStore(_task(run_uid="another")), FakeStore(_task(other.oci_manifest), layer=other.oci_layer)):
        make(store).step()
        assert (store.answers[0].error_code, store.answers[0].attestation) == ("E4610", "")


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (_task(oci_manifest="!"), "not base64"),
        (_task(manifest_digest="sha256:" + "0" * 64), "another digest than the task"),
        (_task(assemble(ComposedRun(attempts=()).inputs()).oci_manifest), "not the one that the OCI manifest names"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(tmp_path: Path, task: SealTask, why: str) -> None:
    with pytest.raises(EvidenceError, match=why) as caught:
        seal(task, LAYER, own_key(tmp_path))
    assert caught.value.code == "E4610"


@pytest.mark.parametrize("layers", [[], [{}], [{"digest": "a", "size": 1}] * 2, [{"digest": "a", "size": "1"}]])
def test_a_manifest_has_one_layer(layers: list[Any]) -> None:
    manifest = json.dumps({"layers": layers}).encode()
    task = _task(manifest_digest=sha256_prefixed(manifest), oci_manifest=base64.b64encode(manifest).decode())
    with pytest.raises(EvidenceError, match="exactly one layer"):
        checked_manifest(task, LAYER)


def test_a_secret_that_is_missing_is_named_until_it_appears(make: Any, tmp_path: Path, notes: list[Any]) -> None:
    store = FakeStore(_task())
    sealer = make(store, secret="team-key")
    for _ in range(3):
        assert sealer.step() == 1.0
    assert "signing Secret team-key not mounted yet" in store.answers[0].error
    assert "kubectl create secret generic team-key -n evidencerun-system --from-file=signing.key=FILE" in (
        store.answers[0].error
    )
    assert store.answers[0].error_code == "E4701"
    assert store.fetched == 0
    assert [event for event, _ in notes].count("sealer.trouble") == 1
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "signing.key").write_bytes(_key(ec.SECP256R1()))
    sealer.step()
    assert store.answers[-1].attestation
    assert not (tmp_path / "key").exists()


def test_a_key_of_another_kind_is_named(make: Any, tmp_path: Path) -> None:
    store = FakeStore(_task())
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "signing.key").write_bytes(_key(ec.SECP384R1()))
    make(store, secret="team-key").step()
    assert (store.answers[0].error_code, store.published) == ("E4711", [])
    assert "on P-256 expected" in store.answers[0].error


def test_a_rotated_key_is_published_and_used(make: Any, tmp_path: Path) -> None:
    store = FakeStore()
    (tmp_path / "secret").mkdir()
    path = tmp_path / "secret" / "signing.key"
    path.write_bytes(_key(ec.SECP256R1()))
    sealer = make(store, secret="team-key")
    sealer.step()
    path.write_bytes(_key(ec.SECP256R1()))
    store.task = _task()
    sealer.step()
    assert len(set(store.published)) == 2
    assert store.answers[0].signer


def test_another_signing_mode_is_refused(make: Any) -> None:
    store = FakeStore(_task(signing_mode="kms"))
    make(store).step()
    assert store.answers[0].error_code == "E4702"


def test_a_store_that_is_away_is_asked_less_often_and_gets_the_key_again(make: Any, notes: list[Any]) -> None:
    store = FakeStore()
    sealer = make(store)
    assert sealer.step() == 1.0
    store.down = True
    pauses = [sealer.step() for _ in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10.0
    store.down = False
    assert sealer.step() == 1.0
    assert len(store.published) == 2
    assert [event for event, _ in notes] == ["key.published", "sealer.trouble", "key.published", "sealer.well"]


@pytest.mark.parametrize("fault", [RecursionError("too deep"), OverflowError("too large"), IndexError("none")])
def test_a_bundle_that_breaks_the_reader_is_refused_not_fatal(
    make: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def broken(*_: object) -> None:
        raise fault

    monkeypatch.setattr(sealing, "verify_artifact", broken)
    store = FakeStore(_task())
    make(store).step()
    assert store.answers[0].error_code == "E4611"


@pytest.mark.parametrize(
    ("url", "namespace"),
    [
        ("https://evidence-store.ours.svc", "ours"),
        ("https://evidence-store.ours.svc.cluster.local", "ours"),
        ("https://127.0.0.1:8443", "evidencerun-system"),
    ],
)
def test_the_namespace_is_that_of_the_store(url: str, namespace: str) -> None:
    assert Settings.from_environment({"EVIDENCERUN_STORE_URL": url}).namespace == namespace
