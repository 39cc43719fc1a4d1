# SPDX-License-Identifier: Apache-2.0
"""The store's own certificate authority and serving certificate, made on its volume and renewed there.

The authority is kept for ten years, because its certificate travels in pod templates; the serving certificate is made
anew well before it ends, or when the names change. Private keys never leave the volume.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evidencerun.errors import StoreError
from evidencerun.store import disk

_CA_DAYS: Final = 3650
_SERVING_DAYS: Final = 90
_RENEW_DAYS: Final = 30
_SKEW: Final = timedelta(minutes=10)
"""Clocks of nodes may be behind the store's."""


class ServingIdentity:
    """Authority and serving certificate below `folder`."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = tuple(names)

    @property
    def ca_pem(self) -> bytes:
        """The authority's certificate."""
        return (self._folder / "authority" / "ca.crt").read_bytes()

    def ensure(self, now: datetime) -> bool:
        """Make what is missing or nearly over; return whether the serving certificate is new. Blocks."""
        disk.make_folder(self._folder)
        if not (self._folder / "authority").exists():
            disk.put_folder(self._folder / "authority", _new_authority(now))
        if not self._needs_serving(now):
            return False
        key, certificate = self._new_serving(now)
        disk.put(self._folder / "serving.pem", key + certificate)
        return True

    def context(self) -> ssl.SSLContext:
        """Return a server context with the current certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.reload(context)
        return context

    def reload(self, context: ssl.SSLContext) -> None:
        """Put the current certificate into a context; connections that stand keep theirs."""
        context.load_cert_chain(self._folder / "serving.pem")

    def _needs_serving(self, now: datetime) -> bool:
        path = self._folder / "serving.pem"
        if not path.exists():
            return True
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if sorted(names.get_values_for_type(x509.DNSName)) != sorted(self._names):
            return True
        return certificate.not_valid_after_utc - now < timedelta(days=_RENEW_DAYS)

    def _new_serving(self, now: datetime) -> tuple[bytes, bytes]:
        authority = x509.load_pem_x509_certificate(self.ca_pem)
        signer = serialization.load_pem_private_key((self._folder / "authority" / "ca.key").read_bytes(), None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise StoreError(
                "E4530", "the authority's key on the volume is not an EC key", where="tls/authority/ca.key"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in self._names])
        builder = (
            _certificate(key, self._names[0][:64], now, _SERVING_DAYS)
            .issuer_name(authority.subject)
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        return _key_pem(key), builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _new_authority(now: datetime) -> dict[str, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evidence-store authority")])
    builder = (
        _certificate(key, "evidence-store authority", now, _CA_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return {"ca.key": _key_pem(key), "ca.crt": certificate.public_bytes(serialization.Encoding.PEM)}


def _certificate(key: ec.EllipticCurvePrivateKey, name: str, now: datetime, days: int) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
