# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from evidencerun.attest.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from evidencerun.attest.keys import load_public_key, verify_signature
from evidencerun.attest.sigstore_bundle import UncheckableSignatureError, parse_bundle
from evidencerun.errors import EvidenceError, InputError

PAYLOAD = b'{"a":1}'


def test_pae_is_the_one_of_the_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_bundle_is_read_as_it_was_written(signing_key):
    parsed = parse_bundle(signing_key.sign(PAYLOAD))
    assert parsed.payload == PAYLOAD
    key = verify_signature(signing_key.pem, payload=parsed.payload, signature=parsed.signature)
    assert parsed.key_digest == key.digest
    assert key.identity == f"key:sha256:{key.digest.hex()}"


def test_a_signature_over_something_else_is_refused(signing_key):
    parsed = parse_bundle(signing_key.sign(PAYLOAD))
    with pytest.raises(EvidenceError, match="does not belong"):
        verify_signature(signing_key.pem, payload=b"{}", signature=parsed.signature)
    with pytest.raises(EvidenceError, match="does not belong"):
        verify_signature(signing_key.pem, payload=PAYLOAD, signature=parsed.signature, payload_type="application/json")


def test_a_signature_has_one_encoding(signing_key):
    data = pae(IN_TOTO_PAYLOAD_TYPE, PAYLOAD)
    signature = signing_key.private.sign(data, ec.ECDSA(hashes.SHA256()))
    key = load_public_key(signing_key.pem)
    r, s = decode_dss_signature(signature)
    padded = b"\x00" + r.to_bytes(33, "big").lstrip(b"\x00")
    longer = b"\x02" + bytes([len(padded) + 1]) + b"\x00" + padded
    tail = encode_dss_signature(r, s)[2:]
    tail = tail[2 + tail[1] :]
    assert key.accepts(signature, data)
    assert not key.accepts(b"\x30" + bytes([len(longer) + len(tail)]) + longer + tail, data)
    assert not key.accepts(signature + b"\x00", data)
    assert not key.accepts(b"", data)


def other_keys():
    spki = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    p256 = ec.generate_private_key(ec.SECP256R1())
    private = p256.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "p384": ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(*spki),
        "ed25519": ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*spki),
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_bytes(*spki),
        "private": private,
        "two": p256.public_key().public_bytes(*spki) * 2,
        "damaged": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "empty": b"",
        "too long": b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 20_000,
    }


def test_only_one_kind_of_key_is_read():
    for name, pem in other_keys().items():
        with pytest.raises(InputError) as caught:
            load_public_key(pem)
        assert caught.value.code == "E2210", name


def changed(document, path, value):
    *parents, last = path
    for step in parents:
        document = document[step]
    if value is None:
        del document[last]
    else:
        document[last] = value


MATERIAL, ENVELOPE = "verificationMaterial", "dsseEnvelope"
DEFECTS = {
    "unknown member": (("extra",), 1),
    "unknown member in the envelope": ((ENVELOPE, "extra"), 1),
    "unknown member in the key": ((MATERIAL, "publicKey", "extra"), 1),
    "other media type": (("mediaType",), "application/vnd.dev.sigstore.bundle+json;version=0.3"),
    "other payload type": ((ENVELOPE, "payloadType"), "application/json"),
    "no signature": ((ENVELOPE, "signatures"), []),
    "two signatures": ((ENVELOPE, "signatures"), [{"sig": "AAAA"}, {"sig": "AAAA"}]),
    "key id": ((ENVELOPE, "signatures", 0, "keyid"), "x"),
    "message signature": (("messageSignature",), {}),
    "log entries": ((MATERIAL, "tlogEntries"), [{}]),
    "timestamps": ((MATERIAL, "timestampVerificationData"), {"rfc3161Timestamps": [{"signedTimestamp": "AA=="}]}),
    "payload no base64": ((ENVELOPE, "payload"), "!!"),
    "payload base64 for urls": ((ENVELOPE, "payload"), "_-A="),
    "payload base64 with stray bits": ((ENVELOPE, "payload"), "QR=="),
    "payload without padding": ((ENVELOPE, "payload"), "QQ"),
    "payload with a line break": ((ENVELOPE, "payload"), "QUFB\nQUFB"),
    "payload no text": ((ENVELOPE, "payload"), 1),
    "short hint": ((MATERIAL, "publicKey", "hint"), base64.b64encode(b"short").decode()),
    "no hint": ((MATERIAL, "publicKey", "hint"), None),
    "no envelope": ((ENVELOPE,), None),
    "no material": ((MATERIAL,), None),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_bundle_that_breaks_the_format_is_refused(signing_key, defect):
    document = json.loads(signing_key.sign(PAYLOAD))
    changed(document, *DEFECTS[defect])
    with pytest.raises(EvidenceError) as caught:
        parse_bundle(json.dumps(document, ensure_ascii=False).encode())
    assert caught.value.code == "E2011"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"mediaType"', '"dsseEnvelope":{},"mediaType"', 1),
        lambda text: text.replace("application/vnd", "\\u0061pplication/vnd", 1),
        lambda text: "[" + text + "]",
        lambda text: text + text,
        lambda text: "\ufeff" + text,
        lambda text: text.replace('"payload"', '"Payload"', 1),
    ],
    ids=["repeated member", "escaped spelling", "list", "two documents", "byte order mark", "other case"],
)
def test_json_that_readers_may_take_differently_is_refused(signing_key, change):
    text = signing_key.sign(PAYLOAD).decode()
    with pytest.raises(EvidenceError):
        parse_bundle(change(text).encode())


def test_empty_lists_of_other_producers_are_no_defect(signing_key):
    document = json.loads(signing_key.sign(PAYLOAD))
    document[MATERIAL] |= {"tlogEntries": [], "timestampVerificationData": {"rfc3161Timestamps": []}}
    document[ENVELOPE]["signatures"][0]["keyid"] = ""
    assert parse_bundle(json.dumps(document).encode()).payload == PAYLOAD


def test_a_certificate_is_said_to_be_uncheckable_and_not_to_be_wrong(signing_key):
    document = json.loads(signing_key.sign(PAYLOAD))
    document[MATERIAL] = {"certificate": {"rawBytes": "AA=="}, "tlogEntries": [{}]}
    with pytest.raises(UncheckableSignatureError) as caught:
        parse_bundle(json.dumps(document).encode())
    assert caught.value.code == "E2211"


def test_the_modules_load_neither_sigstore_nor_a_cluster_client():
    code = (
        "import sys, evidencerun.verify.run, evidencerun.report.text, evidencerun.report.contents,"
        " evidencerun.cli.cmd_verify, evidencerun.cli.cmd_show;"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'sigstore', 'kubernetes', 'aiohttp', 'kopf'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
