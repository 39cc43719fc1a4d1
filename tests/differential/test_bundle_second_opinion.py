# SPDX-License-Identifier: Apache-2.0
"""Artifacts that we write, and damaged ones, judged by a Go program on the libraries that AICR itself uses.

AICR's own binary is not run; the program carries out its verifier's steps (tests/go/secondopinion).
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from composed_run import ComposedRun, attempt
from cryptography.hazmat.primitives.asymmetric import ec

from evidencerun.attest.statement import signed_payload, unsigned_statement
from evidencerun.bundle import layout
from evidencerun.bundle.artifact import build_artifact
from evidencerun.bundle.assemble import assemble
from evidencerun.bundle.manifest import build_manifest
from evidencerun.canonical import sha256_hex, sha256_prefixed
from evidencerun.oci import media_types
from evidencerun.oci.reference import Repository
from evidencerun.oci.referrers import Attachment, attach_file
from evidencerun.oci.registry import Descriptor, RepositoryClient
from evidencerun.oci.transport import RegistryAccess

TESTS = Path(__file__).resolve().parents[1]
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PASSED = ["1 materialize-bundle passed", "2 signature-verify passed", "3 predicate-parse passed"]


@pytest.fixture(scope="session")
def second_opinion(tmp_path_factory):
    """The program, built once. A missing Go toolchain is an error, not a skip."""
    go = shutil.which("go")
    assert go, "a Go toolchain is needed for the differential tests"
    program = tmp_path_factory.mktemp("go") / "secondopinion"
    subprocess.run([go, "build", "-o", program, "."], cwd=TESTS / "go/secondopinion", check=True)

    def judge(place, digest, key):
        """`place` is an OCI layout's folder, or `registry/repository` of a registry in plain HTTP."""
        where = ["-layout", place] if isinstance(place, Path) else ["-plain-http", "-repository", place]
        arguments = [*where, "-digest", digest, "-key", key]
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    return judge


class Layout:
    """An OCI layout directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifests: list[dict[str, object]] = []
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes, media_type: str) -> dict[str, object]:
        (self.root / "blobs/sha256" / sha256_hex(data)).write_bytes(data)
        return {"mediaType": media_type, "digest": sha256_prefixed(data), "size": len(data)}

    def manifest(self, data: bytes) -> dict[str, object]:
        entry = self.blob(data, "application/vnd.oci.image.manifest.v1+json")
        self.manifests.append(entry)
        index = {"schemaVersion": 2, "manifests": self.manifests}
        (self.root / "index.json").write_text(json.dumps(index))
        return entry

    def artifact(self, artifact, attestation: bytes | None) -> None:
        config = self.blob(artifact.config, "application/vnd.oci.empty.v1+json")
        self.blob(artifact.layer, "application/vnd.oci.image.layer.v1.tar+gzip")
        subject = self.manifest(artifact.manifest)
        if attestation is not None:
            referrer = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": BUNDLE_TYPE,
                "config": config,
                "layers": [self.blob(attestation, BUNDLE_TYPE)],
                "subject": subject,
            }
            self.manifest(json.dumps(referrer).encode())


@pytest.fixture
def judged(second_opinion, signing_key, tmp_path):
    """Write the files as an artifact, sign them (or not), and ask for the second opinion."""

    def judge(files, *, key=signing_key, payload=None, signed=True):
        artifact = build_artifact(files, version="evidencerun/0.1.0")
        body = payload or signed_payload(files, artifact.manifest_digest)
        Layout(tmp_path / "oci").artifact(artifact, key.sign(body) if signed else None)
        (tmp_path / "evidence.pub").write_bytes(signing_key.pem)
        return second_opinion(tmp_path / "oci", artifact.manifest_digest, tmp_path / "evidence.pub")

    return judge


@pytest.fixture
def files():
    return dict(assemble(ComposedRun().inputs()).files)


def test_what_we_write_is_accepted(judged, files):
    code, lines = judged(files)
    assert lines == [
        *PASSED,
        "4 manifest-hash-check passed",
        "5 deployment passed 2 failed 0 skipped 0",
        f"recipe none-ubuntu {json.loads(files[layout.STATEMENT])['predicate']['recipe']['digest']}",
    ]
    assert code == 0


def test_a_bundle_with_logs_and_failures_is_accepted_and_counted(judged):
    attempts = (
        attempt("expected-resources", status="failed"),
        attempt("node-agreement", status="other"),
    )
    run = ComposedRun(attempts=attempts, spec={"logs": "bundled"})
    code, lines = judged(dict(assemble(run.inputs()).files))
    assert code == 0
    assert "5 deployment passed 0 failed 2 skipped 0" in lines


def test_no_signature(judged, files):
    code, lines = judged(files, signed=False)
    assert code == 1
    assert lines == ["1 materialize-bundle failed: the artifact has no signature"]


def test_another_key(judged, files, signing_key):
    code, lines = judged(files, key=type(signing_key)(private=ec.generate_private_key(ec.SECP256R1())))
    assert code == 1
    assert lines[-1].startswith("2 signature-verify failed")


def test_a_signature_over_another_artifact(judged, files):
    code, lines = judged(files, payload=signed_payload(files, "sha256:" + "0" * 64))
    assert code == 1
    assert lines[-1].startswith("2 signature-verify failed")


@pytest.fixture(scope="session")
def plain_registry(tmp_path_factory, repository):
    """The address of an OCI registry with the referrers API, on a port of its own, empty, gone afterwards."""
    tools = repository / "deploy/local/tools"
    program = subprocess.run([tools, "path", "oci-registry"], capture_output=True, text=True, check=True).stdout.strip()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    log = (tmp_path_factory.mktemp("registry") / "log").open("wb")
    with log, subprocess.Popen([program, "--addr", address], stdout=log, stderr=log) as running:
        try:
            deadline = time.monotonic() + 30
            while not _answers(address):
                assert time.monotonic() < deadline, "the registry did not start"
                time.sleep(0.05)
            yield address
        finally:
            running.terminate()


def _answers(address):
    host, _, port = address.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


@pytest.fixture
def pushed(second_opinion, plain_registry, signing_key, tmp_path):
    """Push the files with our own client, signature as referrer, and ask for the opinion on what the registry has."""

    def push(files, place, *, key=signing_key):
        artifact = build_artifact(files, version="evidencerun/0.1.0")
        attestation = key.sign(signed_payload(files, artifact.manifest_digest))
        for name, data in (("layer", artifact.layer), ("attestation", attestation), ("evidence.pub", signing_key.pem)):
            (tmp_path / name).write_bytes(data)
        where = Repository(registry=plain_registry, path=place)
        access = RegistryAccess(registry=plain_registry, plain_http=True)
        with RepositoryClient(where, access) as client:
            client.push_blob(artifact.config, media_types.EMPTY)
            layer = Descriptor(
                media_type=media_types.TAR_GZIP, digest=sha256_prefixed(artifact.layer), size=len(artifact.layer)
            )
            client.push_file(tmp_path / "layer", layer)
            subject = client.push_manifest(artifact.manifest, media_types.MANIFEST, tag="evidence")
            content = Descriptor(media_type=BUNDLE_TYPE, digest=sha256_prefixed(attestation), size=len(attestation))
            attachment = Attachment(artifact_type=BUNDLE_TYPE, layer=content, title="payload", annotations={})
            attach_file(client, subject, attachment, tmp_path / "attestation")
        return second_opinion(f"{plain_registry}/{place}", artifact.manifest_digest, tmp_path / "evidence.pub")

    return push


def test_what_we_pushed_is_accepted(pushed, files):
    code, lines = pushed(files, "team/good")
    assert lines[:4] == [*PASSED, "4 manifest-hash-check passed"]
    assert code == 0


def test_what_we_pushed_damaged_is_refused(pushed, files):
    code, lines = pushed(files | {"run.json": files["run.json"] + b" "}, "team/damaged")
    assert code == 1
    assert lines[-1].startswith("4 manifest-hash-check failed")


def test_what_another_signed_and_pushed_is_refused(pushed, files, signing_key):
    code, lines = pushed(
        files, "team/other-key", key=type(signing_key)(private=ec.generate_private_key(ec.SECP256R1()))
    )
    assert code == 1
    assert lines[-1].startswith("2 signature-verify failed")


DAMAGES = {
    "a file changed": lambda files: files | {"run.json": files["run.json"] + b" "},
    "a file added": lambda files: files | {"extra.txt": b"x"},
    "a file removed": lambda files: {path: data for path, data in files.items() if path != "nodes.json"},
    "the manifest changed": lambda files: files | {"manifest.json": files["manifest.json"] + b" "},
    "the report changed": lambda files: files | {"ctrf/deployment.json": files["ctrf/deployment.json"] + b" "},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_artifacts_are_refused(judged, files, damage):
    code, lines = judged(DAMAGES[damage](files))
    assert code == 1
    assert lines[:3] == PASSED
    assert lines[-1].startswith("4 manifest-hash-check failed")


def test_another_recipe_under_the_same_digest_is_refused(judged, files):
    files |= {layout.RECIPE: files[layout.RECIPE].replace(b"1.2.3", b"1.2.4")}
    files[layout.MANIFEST] = build_manifest(files)
    predicate = json.loads(files[layout.STATEMENT])["predicate"]
    predicate["manifest"]["digest"] = sha256_prefixed(files[layout.MANIFEST])
    files[layout.STATEMENT] = layout.document_bytes(unsigned_statement(predicate))
    code, lines = judged(files)
    assert code == 1
    assert "the recipe's digest is" in lines[-1]
