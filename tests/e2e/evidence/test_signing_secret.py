# SPDX-License-Identifier: Apache-2.0
"""A signing Secret that is named and does not exist: told at once, nothing lost, signed as soon as it appears."""

from __future__ import annotations

import base64
import hashlib
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from evidence_lab import REPOSITORY, SYSTEM, Evidence, recipe

pytestmark = pytest.mark.long

CHART = REPOSITORY / "charts/evidencerun"


def upgrade(installed: Any, secret: str) -> None:
    """Name the signing Secret, or none, and wait until the sealer runs with it."""
    words = ["helm", "upgrade", "evidencerun", str(CHART), "--namespace", SYSTEM, "--reuse-values"]
    done = subprocess.run(
        [*words, "--set", f"signing.secretName={secret}", "--wait", "--timeout", "5m"],
        capture_output=True, text=True, env=installed.environment, timeout=330,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def named(installed: Any) -> Iterator[str]:
    """The installation with a signing Secret that does not exist; afterwards as it was, with its own key."""
    name = f"signing-{secrets.token_hex(3)}"
    before = published(installed)["signing.pub"]
    try:
        upgrade(installed, name)
        yield name
    finally:
        upgrade(installed, "")
        installed.kubectl("delete", "secret", "-n", SYSTEM, name, "--ignore-not-found")
    installed.wait_until("its own key signs again", lambda: published(installed)["signing.pub"] == before, timeout=120)


def published(installed: Any) -> dict[str, str]:
    data: dict[str, str] = installed.get("configmap", "-n", SYSTEM, "evidence-public")["data"]
    return data


def test_a_bundle_waits_for_the_secret_and_is_signed_when_it_appears(evidence: Evidence, named: str, tmp_path: Path):
    own = published(evidence.cluster)["signing.pub"]
    spec = {"recipe": {"inline": recipe()}, "fingerprintOnly": True}
    name = evidence.start(spec, prefix="unsigned")

    def told() -> dict[str, Any]:
        condition = evidence.condition(name, "Sealed")
        return condition if condition.get("reason") == "SigningFails" else {}

    condition = evidence.cluster.wait_until("it says why it is not signed", told, timeout=120)
    assert condition["status"] == "False"
    assert f"signing Secret {named} not mounted yet" in condition["message"]
    status = evidence.status(name)
    assert f"signing Secret {named}" in status["summary"]
    assert status["phase"] == "Sealing"
    assert not status.get("verdict"), "an unsigned bundle has no verdict yet"
    assert f"kubectl create secret generic {named} -n {SYSTEM}" in condition["message"]

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    metadata = {"name": named, "namespace": SYSTEM}
    data = {"signing.key": base64.b64encode(pem).decode()}
    evidence.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    run = evidence.finished(name, timeout=300)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    spki = hashlib.sha256(public).hexdigest()
    assert run["status"]["verdict"] == "FingerprintOnly"
    assert run["status"]["bundle"]["signer"] == f"key:sha256:{spki}"
    keys = published(evidence.cluster)
    assert keys[f"signing-{spki[:16]}.pub"] == keys["signing.pub"] != own
    assert own in [value for entry, value in keys.items() if entry != "signing.pub"], "earlier keys stay"
    archive, pub = tmp_path / "bundle.tar.gz", tmp_path / "evidence.pub"
    archive.write_bytes(evidence.archive(run))
    pub.write_text(keys["signing.pub"], encoding="ascii")
    assert evidence.verify(archive, pub).returncode == 11, "authentic, but the fingerprint only"
    pub.write_text(own, encoding="ascii")
    assert evidence.verify(archive, pub).returncode == 13, "the other key did not sign it"
    assert (
        pem.decode().splitlines()[1]
        not in evidence.cluster.kubectl("logs", "-n", SYSTEM, "deployment/evidence-sealer").stdout
    )
