# SPDX-License-Identifier: Apache-2.0
"""The store's certificates: a lasting authority, a serving certificate that renews itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from evidencerun.errors import ClusterError
from evidencerun.store.tls import ServingIdentity

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NAMES = ("evidence-store.evidencerun-system.svc", "localhost")


def _serving(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "serving.pem").read_bytes())


def test_the_certificate_verifies_for_each_name(tmp_path: Path) -> None:
    identity = ServingIdentity(tmp_path / "tls", NAMES)
    assert identity.ensure(NOW) is True
    certificate = _serving(tmp_path / "tls")
    authority = x509.load_pem_x509_certificate(identity.ca_pem)
    for name in NAMES:
        verifier = PolicyBuilder().store(Store([authority])).time(NOW).build_server_verifier(x509.DNSName(name))
        assert verifier.verify(certificate, [])[-1] == authority
    assert authority.not_valid_after_utc - NOW >= timedelta(days=3650)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_it_renews_in_time_and_keeps_the_authority(tmp_path: Path) -> None:
    identity = ServingIdentity(tmp_path / "tls", NAMES)
    identity.ensure(NOW)
    first, authority = _serving(tmp_path / "tls"), identity.ca_pem
    assert identity.ensure(NOW + timedelta(days=59)) is False
    assert _serving(tmp_path / "tls") == first
    assert identity.ensure(NOW + timedelta(days=61)) is True
    second = _serving(tmp_path / "tls")
    assert second.serial_number != first.serial_number
    assert second.not_valid_after_utc > first.not_valid_after_utc
    assert identity.ca_pem == authority


def test_it_is_made_anew_for_other_names(tmp_path: Path) -> None:
    ServingIdentity(tmp_path / "tls", NAMES).ensure(NOW)
    assert ServingIdentity(tmp_path / "tls", NAMES).ensure(NOW) is False
    assert ServingIdentity(tmp_path / "tls", (*NAMES, "more")).ensure(NOW) is True


def test_private_keys_are_private(tmp_path: Path) -> None:
    ServingIdentity(tmp_path / "tls", NAMES).ensure(NOW)
    files = [path for path in (tmp_path / "tls").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"ca.crt", "ca.key", "serving.pem"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


async def test_the_authority_is_published_and_keys_are_kept(rig: Any, tmp_path: Path) -> None:
    from evidencerun.signers.key import own_key
    from evidencerun.store.api_seal import PUBLISHER

    publisher = rig.server._runner.app[PUBLISHER]
    await publisher.publish()
    assert rig.api.config_map["ca.crt"].encode() == rig.server._identity.ca_pem
    first, second = own_key(tmp_path / "a"), own_key(tmp_path / "b")
    token = rig.api.sealer_token()
    for signer, expected in ((first, 201), (first, 200), (second, 201)):
        status, _, _ = await rig.call("PUT", "/v1/keys", token=token, data=signer.public_pem)
        assert status == expected
    await publisher.publish()
    published = rig.api.config_map
    assert published["signing.pub"].encode() == second.public_pem
    for signer in (first, second):
        assert published[f"signing-{signer.public_key.digest.hex()[:16]}.pub"].encode() == signer.public_pem
    await rig.restart()
    assert rig.service.keys.published()["signing.pub"].encode() == second.public_pem
    status, body, _ = await rig.call("PUT", "/v1/keys", token=rig.api.sealer_token(), data=b"no key")
    assert (status, json.loads(body)["kind"]) == (422, "Status")


async def test_publishing_waits_for_the_api_server(rig: Any) -> None:
    from evidencerun.store.api_seal import PUBLISHER

    publisher = rig.server._runner.app[PUBLISHER]
    rig.api.down = True
    with pytest.raises(ClusterError):
        await publisher.publish()
    rig.api.down = False
    await publisher.publish()
    assert publisher.published
