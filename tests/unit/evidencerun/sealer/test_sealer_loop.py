# SPDX-License-Identifier: Apache-2.0
"""The sealer signs what it has checked itself, waits for its key, and says why it does not sign."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from evidencerun.bundle.archive import write_archive
from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import EvidenceError, StoreError
from evidencerun.sealer import sealing
from evidencerun.sealer.loop import Sealer
from evidencerun.sealer.sealing import checked_manifest, seal
from evidencerun.sealer.settings import Settings
from evidencerun.signers.key import own_key
from evidencerun.validation.storeapi import SealAnswer, SealTask

LAYER = write_archive({"manifest.json": b"{}", "recipe.yaml": b"x"}, 0)


def _task(layer: bytes = LAYER, **changes: Any) -> SealTask:
    manifest = json.dumps({"layers": [{"digest": sha256_prefixed(layer), "size": len(layer)}]}).encode()
    values = {
        "run_uid": "u",
        "manifest_digest": sha256_prefixed(manifest),
        "oci_manifest": base64.b64encode(manifest).decode(),
        "signing_mode": "key",
    }
    return SealTask.model_validate({**values, **changes})


class FakeStore:
    """A store in memory with one task."""

    def __init__(self, task: SealTask | None = None) -> None:
        self.task = task
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
        return LAYER

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


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The duties and the payload are the library's; here it matters only that they are asked, and with what."""
    asked: list[Any] = []
    monkeypatch.setattr(sealing, "verify_unsigned", asked.append)
    monkeypatch.setattr(sealing, "signed_payload", lambda files, digest: f"{sorted(files)} {digest}".encode())
    return asked


def _key(curve: ec.EllipticCurve) -> bytes:
    return ec.generate_private_key(curve).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_bundle_is_checked_and_signed(make: Any, lenient: list[Any], notes: list[Any]) -> None:
    store = FakeStore(_task())
    sealer = make(store)
    assert sealer.step() == 0.0
    assert store.answers[0].attestation
    assert store.answers[0].signer.startswith("key:sha256:")
    assert [sorted(files) for files in lenient] == [["manifest.json", "recipe.yaml"]]
    assert sealer.step() == 1.0
    assert len(store.published) == 1
    assert [event for event, _ in notes] == ["key.published", "bundle.signed"]


def test_a_bundle_that_fails_its_duties_is_not_signed(make: Any) -> None:
    store = FakeStore(_task())
    make(store).step()
    assert not store.answers[0].attestation
    assert store.answers[0].error_code.startswith("E2")
    assert store.answers[0].error


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (_task(oci_manifest="!"), "not base64"),
        (_task(manifest_digest="sha256:" + "0" * 64), "another digest than the task"),
        (_task(layer=b"other"), "not the one that the OCI manifest names"),
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
        checked_manifest(task)


def test_a_secret_that_is_missing_is_named_until_it_appears(
    make: Any, lenient: list[Any], tmp_path: Path, notes: list[Any]
) -> None:
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


def test_a_rotated_key_is_published_and_used(make: Any, lenient: list[Any], tmp_path: Path) -> None:
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


def test_a_bundle_that_breaks_the_reader_is_refused_not_fatal(
    make: Any, lenient: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(sealing, "verify_unsigned", broken)
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
