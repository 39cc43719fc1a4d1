# SPDX-License-Identifier: Apache-2.0
"""The registry client and the delivery against real registries.

`docker`: Debian's docker-registry with TLS and htpasswd, which has no referrers API. `oci`: the OCI 1.1 registry of
deploy/local, with TLS and the referrers API. Both run on loopback ports of their own and end with the session.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evidencerun.deliver.main import run
from evidencerun.errors import RegistryError
from evidencerun.oci import media_types
from evidencerun.oci.credentials import Credentials
from evidencerun.oci.faults import RegistryRefusedError
from evidencerun.oci.reference import Repository
from evidencerun.oci.referrers import Way, list_referrers
from evidencerun.oci.registry import Descriptor, RepositoryClient
from evidencerun.oci.transport import RegistryAccess
from evidencerun.storeclient import Clock, StepLog

USER, PASSWORD = "evidence", "correct horse"
_START_SECONDS = 30
LOGS_KEY = "0" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A running registry: its address, the CA of its certificate, and what is right about it."""

    address: str
    ca: Path
    credentials: Credentials
    way: Way

    def access(self, credentials: Credentials | None = None) -> RegistryAccess:
        given = self.credentials if credentials is None else credentials
        return RegistryAccess(registry=self.address, credentials=given, ca_pem=self.ca.read_text())

    def client(self, path: str, credentials: Credentials | None = None) -> RepositoryClient:
        return RepositoryClient(Repository(registry=self.address, path=path), self.access(credentials))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _certificate(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "registry.key", folder / "registry.crt"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=registry of a test"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    return certificate, key


@contextlib.contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        program = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _listens(port):
                ended = program.poll() is not None or time.monotonic() > deadline
                assert not ended, f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}"
                time.sleep(0.05)
            yield
        finally:
            program.terminate()
            program.wait(timeout=10)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder, port = tmp_path_factory.mktemp("docker-registry"), _free_port()
    certificate, key = _certificate(folder)
    line = subprocess.run(["htpasswd", "-inB", USER], input=PASSWORD, text=True, check=True, capture_output=True).stdout
    (folder / "htpasswd").write_text(line.strip() + "\n")
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: 127.0.0.1:{port}, tls: {{certificate: {certificate}, key: {key}}}}}\n"
        f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
    )
    with _running(["docker-registry", "serve", str(folder / "config.yml")], port, folder / "log"):
        yield Registry(
            address=f"127.0.0.1:{port}",
            ca=certificate,
            credentials=Credentials(username=USER, password=PASSWORD),
            way=Way.TAG,
        )


@pytest.fixture(scope="session")
def oci_registry(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Registry]:
    folder, port = tmp_path_factory.mktemp("oci-registry"), _free_port()
    certificate, key = _certificate(folder)
    with _running(
        [
            str(_program(repository, "oci-registry")),
            "--addr",
            f"127.0.0.1:{port}",
            "--tls-cert",
            str(certificate),
            "--tls-key",
            str(key),
        ],
        port,
        folder / "log",
    ):
        yield Registry(address=f"127.0.0.1:{port}", ca=certificate, credentials=Credentials(), way=Way.API)


@pytest.fixture(params=["docker", "oci"])
def registry(request: pytest.FixtureRequest) -> Registry:
    found = request.getfixturevalue(f"{request.param}_registry")
    assert isinstance(found, Registry)
    return found


def _program(repository: Path, name: str) -> Path:
    done = subprocess.run(
        [repository / "deploy/local/tools", "path", name],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    return Path(done.stdout.strip())


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _manifest(config: Descriptor, layer: Descriptor) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": "application/vnd.nvidia.aicr.artifact",
        "config": config.to_dict(),
        "layers": [layer.to_dict()],
    }
    return json.dumps(document, indent=1).encode()


def test_blobs_and_manifests_come_back_as_they_went(registry: Registry, tmp_path: Path) -> None:
    big = os.urandom(1 << 20) * 17  # three pieces
    (tmp_path / "layer").write_bytes(big)
    layer = Descriptor(media_type=media_types.TAR_GZIP, digest=_digest(big), size=len(big))
    with registry.client("team/round-trip") as client:
        assert not client.has_blob(layer.digest)
        config = client.push_blob(b"{}", media_types.EMPTY)
        client.push_file(tmp_path / "layer", layer)
        assert client.has_blob(layer.digest)
        manifest = _manifest(config, layer)
        pushed = client.push_manifest(manifest, media_types.MANIFEST, tag="first")
        for reference in ("first", pushed.digest):
            assert client.read_manifest(reference) == (manifest, pushed)
        read = io.BytesIO()
        client.read_blob(layer, read)
        assert read.getvalue() == big
        assert client.read_manifest("no-such-tag") is None


def test_an_empty_blob_can_be_pushed(registry: Registry) -> None:
    with registry.client("team/empty") as client:
        empty = client.push_blob(b"", "application/octet-stream")
        assert client.has_blob(empty.digest)


def test_wrong_password_is_named_with_its_fix(docker_registry: Registry) -> None:
    wrong = Credentials(username=USER, password="wrong")
    with docker_registry.client("team/denied", wrong) as client, pytest.raises(RegistryRefusedError) as caught:
        client.push_blob(b"x", "application/octet-stream")
    assert (caught.value.code, caught.value.status) == ("E7411", 401)
    assert "Secret" in caught.value.fix
    assert "wrong" not in caught.value.diagnostics()


def test_anonymous_push_is_refused(docker_registry: Registry) -> None:
    with docker_registry.client("team/denied", Credentials()) as client, pytest.raises(RegistryRefusedError) as caught:
        client.push_blob(b"x", "application/octet-stream")
    assert caught.value.status == 401


def test_unknown_certificate_is_refused_with_its_fix(oci_registry: Registry) -> None:
    access = RegistryAccess(registry=oci_registry.address)
    with (
        RepositoryClient(Repository(registry=oci_registry.address, path="a/b"), access) as client,
        pytest.raises(RegistryError) as caught,
    ):
        client.has_blob("sha256:" + "0" * 64)
    assert caught.value.code == "E7419"
    assert "ca.crt" in caught.value.fix


# --- delivery --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBundle:
    """A bundle as a store would publish it; the bytes mean nothing, the digests do."""

    archive: bytes
    layer: bytes
    manifest: bytes
    attestation: bytes
    logs: bytes

    def routes(self) -> dict[str, bytes]:
        base = f"/v1/bundles/{_digest(self.archive)}"
        return {
            base: self.archive,
            f"{base}/oci/manifest": self.manifest,
            f"{base}/oci/config": b"{}",
            f"{base}/oci/layer": self.layer,
            f"{base}/oci/attestation": self.attestation,
            f"/v1/logs/{LOGS_KEY}": self.logs,
        }


def sealed_bundle() -> SealedBundle:
    layer = os.urandom(1 << 20) * 9
    manifest = _manifest(
        Descriptor(media_type=media_types.EMPTY, digest=_digest(b"{}"), size=2),
        Descriptor(media_type=media_types.TAR_GZIP, digest=_digest(layer), size=len(layer)),
    )
    subject = {"name": "evidence", "digest": {"sha256": _digest(manifest).removeprefix("sha256:")}}
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [subject]}
    envelope = {"payload": base64.b64encode(json.dumps(statement).encode()).decode()}
    return SealedBundle(
        archive=os.urandom(2000),
        layer=layer,
        manifest=manifest,
        attestation=json.dumps({"dsseEnvelope": envelope}).encode(),
        logs=os.urandom(3000),
    )


@contextlib.contextmanager
def published(routes: dict[str, bytes]) -> Iterator[str]:
    """Serve the routes over plain HTTP on loopback, with Status objects for what is not there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = routes.get(self.path)
            self.send_response(200 if body is not None else 404)
            body = body if body is not None else b'{"kind":"Status","message":"not here"}'
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _secret(folder: Path, registry: Registry, password: str = PASSWORD) -> Path:
    folder.mkdir()
    entry = {"username": USER, "password": password}
    (folder / ".dockerconfigjson").write_text(json.dumps({"auths": {registry.address: entry}}))
    (folder / "ca.crt").write_text(registry.ca.read_text())
    return folder


def _environ(url: str, bundle: SealedBundle, registry: Registry, folder: Path, secret: Path) -> dict[str, str]:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return {
        "EVIDENCERUN_STORE_URL": url,
        "EVIDENCERUN_RUN_UID": "uid",
        "EVIDENCERUN_RUN_NAME": "first",
        "EVIDENCERUN_RECIPE_NAME": "none-Any",
        "EVIDENCERUN_ARCHIVE_DIGEST": _digest(bundle.archive),
        "EVIDENCERUN_MANIFEST_DIGEST": _digest(bundle.manifest),
        "EVIDENCERUN_INVENTORY_DIGEST": "sha256:" + "ab" * 32,
        "EVIDENCERUN_LOGS_DIGEST": _digest(bundle.logs),
        "EVIDENCERUN_LOGS_KEY": LOGS_KEY,
        "EVIDENCERUN_OCI_REPOSITORY": f"{registry.address}/team/{folder.name.replace('_', '-').lower()}",
        "EVIDENCERUN_OCI_SECRET": "push",
        "EVIDENCERUN_REGISTRY_DIR": str(secret),
        "EVIDENCERUN_SCRATCH": str(scratch),
    }


def _log() -> StepLog:
    return StepLog("deliver", now=lambda: "then", out=io.StringIO())


def test_delivery_pushes_artifact_signature_and_logs(registry: Registry, tmp_path: Path) -> None:
    bundle = sealed_bundle()
    with published(bundle.routes()) as url:
        environ = _environ(url, bundle, registry, tmp_path, _secret(tmp_path / "secret", registry))
        first = run(environ, clock=Clock(), log=_log())
        again = run(environ, clock=Clock(), log=_log())
    assert first.errors == ()
    assert again == first
    reference = first.delivered[0].ref
    assert reference == f"{environ['EVIDENCERUN_OCI_REPOSITORY']}@{_digest(bundle.manifest)}"
    with registry.client(reference.partition("/")[2].partition("@")[0]) as client:
        found = client.read_manifest("none-any-abababababab")
        assert found is not None
        assert found[0] == bundle.manifest
        listing = list_referrers(client, _digest(bundle.manifest))
        assert listing.way is registry.way
        types = sorted(str(entry["artifactType"]) for entry in listing.entries)
        assert types == [media_types.SIGSTORE_BUNDLE, media_types.LOGS]
        signature = list_referrers(client, _digest(bundle.manifest), media_types.SIGSTORE_BUNDLE).entries
        assert _only_layer(client, str(signature[0]["digest"])) == bundle.attestation


def _only_layer(client: RepositoryClient, digest: str) -> bytes:
    found = client.read_manifest(digest)
    assert found is not None
    (layer,) = json.loads(found[0])["layers"]
    read = io.BytesIO()
    client.read_blob(Descriptor(media_type=layer["mediaType"], digest=layer["digest"], size=layer["size"]), read)
    return read.getvalue()


def test_oras_finds_the_signature(registry: Registry, repository: Path, tmp_path: Path) -> None:
    bundle = sealed_bundle()
    with published(bundle.routes()) as url:
        environ = _environ(url, bundle, registry, tmp_path, _secret(tmp_path / "secret", registry))
        assert run(environ, clock=Clock(), log=_log()).errors == ()
    command = [str(_program(repository, "oras")), "discover", "--format", "json", "--ca-file", str(registry.ca)]
    if registry.credentials.username:
        command += ["--username", USER, "--password", PASSWORD]
    command.append(f"{environ['EVIDENCERUN_OCI_REPOSITORY']}@{_digest(bundle.manifest)}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert media_types.SIGSTORE_BUNDLE in done.stdout
    assert media_types.LOGS in done.stdout


def test_an_unsigned_bundle_is_delivered_without_signature(registry: Registry, tmp_path: Path) -> None:
    bundle = sealed_bundle()
    routes = {path: body for path, body in bundle.routes().items() if not path.endswith("attestation")}
    with published(routes) as url:
        environ = _environ(url, bundle, registry, tmp_path, _secret(tmp_path / "secret", registry))
        environ["EVIDENCERUN_LOGS_KEY"] = ""
        outcome = run(environ, clock=Clock(), log=_log())
    assert outcome.exit_code == 0
    with registry.client(environ["EVIDENCERUN_OCI_REPOSITORY"].partition("/")[2]) as client:
        assert list_referrers(client, _digest(bundle.manifest)).entries == ()


@pytest.mark.parametrize(
    ("part", "code"), [("manifest", "E7310"), ("layer", "E7310"), ("config", "E7310"), ("attestation", "E7313")]
)
def test_a_part_that_is_another_is_not_pushed(oci_registry: Registry, tmp_path: Path, part: str, code: str) -> None:
    bundle = sealed_bundle()
    other = sealed_bundle().routes()
    routes = bundle.routes()
    key = next(path for path in routes if path.endswith(f"/oci/{part}"))
    routes[key] = b"[]" if part == "config" else next(body for path, body in other.items() if path.endswith(f"/{part}"))
    with published(routes) as url:
        environ = _environ(url, bundle, oci_registry, tmp_path, _secret(tmp_path / "secret", oci_registry))
        outcome = run(environ, clock=Clock(), log=_log())
    assert [item.fault.code for item in outcome.errors] == [code]
    with oci_registry.client(environ["EVIDENCERUN_OCI_REPOSITORY"].partition("/")[2]) as client:
        assert client.read_manifest("none-any-abababababab") is None


def test_faults_of_delivery_are_named(docker_registry: Registry, tmp_path: Path) -> None:
    bundle = sealed_bundle()
    with published(bundle.routes()) as url:
        environ = _environ(url, bundle, docker_registry, tmp_path, tmp_path / "no-secret")
        missing = run(environ, clock=Clock(), log=_log())
        environ["EVIDENCERUN_REGISTRY_DIR"] = str(_secret(tmp_path / "wrong", docker_registry, "wrong"))
        refused = run(environ, clock=Clock(), log=_log())
        environ["EVIDENCERUN_OCI_REPOSITORY"] = f"127.0.0.1:{_free_port()}/team/evidence"
        absent = run(environ, clock=Clock(), log=_log())
    assert [item.fault.code for item in missing.errors] == ["E7305"]
    assert [item.fault.code for item in refused.errors] == ["E7411"]
    assert [item.fault.code for item in absent.errors] == ["E7306"]
    message = json.loads(refused.message())
    assert message["errors"][0]["kind"] == "oci"
    assert message["errors"][0]["fix"]
    assert refused.exit_code == 1


def test_nobody_listening_is_named(tmp_path: Path) -> None:
    repository = Repository(registry=f"127.0.0.1:{_free_port()}", path="team/evidence")
    access = RegistryAccess(registry=repository.registry, sleep=lambda _: None)
    with RepositoryClient(repository, access) as client, pytest.raises(RegistryError) as caught:
        client.has_blob("sha256:" + "0" * 64)
    assert caught.value.code == "E7418"


def test_plain_http_where_tls_is_expected_is_named(tmp_path: Path) -> None:
    with published({}) as url:
        registry = url.removeprefix("http://")
        client = RepositoryClient(
            Repository(registry=registry, path="team/evidence"), RegistryAccess(registry=registry, sleep=lambda _: None)
        )
        with client, pytest.raises(RegistryError) as caught:
            client.has_blob("sha256:" + "0" * 64)
    assert caught.value.code == "E7419"
    assert "plainHTTP" in caught.value.fix
