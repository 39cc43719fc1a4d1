# SPDX-License-Identifier: Apache-2.0
"""Pushes a sealed bundle to a registry: the artifact as it was signed, its signature and its logs as referrers."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evidencerun import limits
from evidencerun.attest.predicate import PREDICATE_TYPE
from evidencerun.bundle import layout
from evidencerun.canonical import parse_json
from evidencerun.deliver.settings import DeliverSettings, OciTarget
from evidencerun.deliver.storeparts import Part, StoreParts
from evidencerun.errors import EvidenceError, InputError, WorldError
from evidencerun.oci import media_types
from evidencerun.oci.credentials import ANONYMOUS, Credentials, credentials_for
from evidencerun.oci.reference import Repository, is_digest, parse_repository
from evidencerun.oci.referrers import Attachment, attach_file
from evidencerun.oci.registry import Descriptor, RepositoryClient
from evidencerun.oci.transport import RegistryAccess
from evidencerun.storeclient import StepLog

_NAME_MAX: Final = 80
_DOCKER_CONFIG: Final = ".dockerconfigjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The parts of the main artifact, read from its signed manifest."""

    manifest: bytes
    descriptor: Descriptor
    config: Descriptor
    layer: Descriptor


def deliver_to_registry(settings: DeliverSettings, target: OciTarget, parts: StoreParts, log: StepLog) -> str:
    """Push everything; return `repository@sha256:…`. Pushing the same bundle again changes nothing."""
    repository = parse_repository(target.repository)
    access = registry_access(target, repository)
    artifact = read_artifact(parts.oci("manifest", settings.manifest_digest))
    attestation = parts.attestation()
    if attestation is not None:
        require_subject(attestation, settings.manifest_digest)
    logs = parts.logs(settings.logs_key, settings.logs_digest) if settings.logs_key else None
    with RepositoryClient(repository, access) as client:
        _push_artifact(client, artifact, parts)
        log("pushed", part="artifact", digest=artifact.descriptor.digest)
        if attestation is not None:
            signature = attach_file(client, artifact.descriptor, _signature_of(attestation), attestation.path)
            log("pushed", part="attestation", digest=signature.digest)
        if logs is not None:
            attached = attach_file(client, artifact.descriptor, _logs_of(logs), logs.path)
            log("pushed", part="logs", digest=attached.digest)
        tag = tag_for(settings.recipe_name, settings.inventory_digest)
        client.push_manifest(artifact.manifest, artifact.descriptor.media_type, tag=tag)
        log("tagged", tag=tag)
    return f"{repository}@{artifact.descriptor.digest}"


def tag_for(recipe_name: str, inventory_digest: str) -> str:
    """Return AICR's tag: the recipe's name in at most 80 characters that a tag may have, and 12 hex digits."""
    name = re.sub(r"[^a-z0-9_.-]+", "-", recipe_name.lower()).strip("-.")[:_NAME_MAX].strip("-.")
    return f"{name or 'recipe'}-{inventory_digest.removeprefix('sha256:')[:12]}"


def registry_access(target: OciTarget, repository: Repository) -> RegistryAccess:
    """Return how the registry is reached.

    Raises, before any request:
        InputError: E7305 or E7306, the Secret that is named does not serve.
        WorldError: E7311, a file of it cannot be read.

    """
    ca_file = target.secret / "ca.crt"
    ca_pem = _read(ca_file, limits.REGISTRY_CONFIG_MAX).decode("ascii", "replace") if ca_file.is_file() else ""
    return RegistryAccess(
        registry=repository.registry,
        credentials=_credentials(target, repository),
        ca_pem=ca_pem,
        plain_http=target.plain_http,
    )


def read_artifact(part: Part) -> Artifact:
    """Return config and layer of the manifest. Raises `EvidenceError` E7312 for another shape."""
    data = _read(part.path, limits.OCI_MANIFEST_MAX)
    try:
        document = parse_json(data, what="the OCI manifest", max_bytes=limits.OCI_MANIFEST_MAX)
    except InputError as fault:
        raise EvidenceError("E7312", "the OCI manifest cannot be read", where=fault.where, why=fault.what) from fault
    fields = document if isinstance(document, dict) else {}
    layers = fields.get("layers")
    if not isinstance(layers, list) or len(layers) != 1:
        raise EvidenceError("E7312", "the OCI manifest has not exactly one layer", where="layers")
    media_type = str(fields.get("mediaType") or media_types.MANIFEST)
    return Artifact(
        manifest=data,
        descriptor=Descriptor(media_type=media_type, digest=part.digest, size=part.size),
        config=_descriptor(fields.get("config"), "config"),
        layer=_descriptor(layers[0], "layers[0]"),
    )


def require_subject(attestation: Part, manifest_digest: str) -> None:
    """Refuse to attach a signature that speaks about something else; whether it is right, verifiers judge.

    Raises `EvidenceError` E7313.
    """
    wanted = manifest_digest.removeprefix("sha256:")
    data = _read(attestation.path, limits.STATEMENT_MAX)
    try:
        bundle: Any = parse_json(data, what="the attestation", max_bytes=limits.STATEMENT_MAX)
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)
        statement: Any = parse_json(payload, what="the signed statement", max_bytes=limits.STATEMENT_MAX)
        subjects = {subject["digest"]["sha256"] for subject in statement["subject"]}
    except (InputError, LookupError, TypeError, ValueError) as fault:
        raise EvidenceError("E7313", "the attestation is no signed statement", why=str(fault)[:300]) from fault
    if wanted not in subjects:
        raise EvidenceError(
            "E7313", "the attestation speaks about another artifact", why=f"sha256 {wanted} is not among its subjects"
        )


def _push_artifact(client: RepositoryClient, artifact: Artifact, parts: StoreParts) -> None:
    """Blobs first, then the manifest under its digest: the tag comes last, so it never names something incomplete."""
    for name, descriptor in (("config", artifact.config), ("layer", artifact.layer)):
        if not client.has_blob(descriptor.digest):
            client.push_file(parts.oci(name, descriptor.digest).path, descriptor)
    client.push_manifest(artifact.manifest, artifact.descriptor.media_type)


def _signature_of(part: Part) -> Attachment:
    return Attachment(
        artifact_type=media_types.SIGSTORE_BUNDLE,
        layer=Descriptor(media_type=media_types.SIGSTORE_BUNDLE, digest=part.digest, size=part.size),
        title=layout.ATTESTATION,
        annotations={
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": PREDICATE_TYPE,
        },
    )


def _logs_of(part: Part) -> Attachment:
    return Attachment(
        artifact_type=media_types.LOGS,
        layer=Descriptor(media_type=media_types.TAR_GZIP, digest=part.digest, size=part.size),
        title=layout.LOGS_ARCHIVE,
        annotations={"org.opencontainers.image.title": "EvidenceRun check logs"},
    )


def _credentials(target: OciTarget, repository: Repository) -> Credentials:
    if not target.secret_name:
        return ANONYMOUS
    config = target.secret / _DOCKER_CONFIG
    if not config.is_file():
        raise InputError(
            "E7305",
            f"Secret {target.secret_name} does not exist or has no {_DOCKER_CONFIG}",
            where="spec.deliver.oci.secretName",
            fix=f"kubectl create secret docker-registry {target.secret_name} --docker-server={repository.registry} …",
        )
    found = credentials_for(_read(config, limits.REGISTRY_CONFIG_MAX), repository)
    if found is None:
        raise InputError(
            "E7306",
            f"Secret {target.secret_name} has no entry for {repository.registry}",
            where="spec.deliver.oci.secretName",
            fix=f"add {repository.registry} to the Secret",
        )
    return found


def _descriptor(value: object, where: str) -> Descriptor:
    fields = value if isinstance(value, dict) else {}
    digest, size = fields.get("digest"), fields.get("size")
    if not isinstance(digest, str) or not is_digest(digest) or not isinstance(size, int):
        raise EvidenceError("E7312", "the OCI manifest has no usable descriptor", where=where)
    return Descriptor(media_type=str(fields.get("mediaType", "")), digest=digest, size=size)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as fault:
        raise WorldError("E7311", "a file cannot be read", where=str(path), why=str(fault)) from fault
    if len(data) > most:
        why = f"at most {most} bytes are read"
        raise WorldError("E7311", "a file is too large", where=str(path), why=why, retryable=False)
    return data
