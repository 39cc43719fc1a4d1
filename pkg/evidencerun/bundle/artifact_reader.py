# SPDX-License-Identifier: Apache-2.0
"""Reads an OCI artifact that we are asked to trust: manifest, config and layer must belong together exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive, tar_digest
from evidencerun.bundle.artifact import manifest_bytes
from evidencerun.canonical import parse_json, sha256_prefixed
from evidencerun.errors import EvidenceError, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFiles:
    """The files in an artifact's layer, the digest of its manifest, and the producer's version that it names."""

    files: Mapping[str, bytes]
    manifest_digest: str
    version: str


def read_artifact(oci_manifest: bytes, layer: bytes) -> ArtifactFiles:
    """Return what an artifact of our own shape holds.

    The manifest must be, byte for byte, the one that this layer gets from `build_artifact`.

    Raises:
        EvidenceError: E2070, manifest and layer do not belong together or the shape is another; E2001 for the layer.

    """
    try:
        found = parse_json(oci_manifest, what="the OCI manifest", max_bytes=limits.MANIFEST_MAX)
    except InputError as fault:
        raise EvidenceError("E2070", fault.what, where=fault.where, why=fault.why) from fault
    version = _version(found)
    expected = manifest_bytes(layer, tar_digest(layer), version)
    if oci_manifest != expected:
        _refuse(f"{oci_manifest[:200]!a} found, {expected[:200]!a} expected")
    files = read_archive(layer)
    if layout.ATTESTATION in files:
        _refuse("the layer holds an attestation, which can only be made after it")
    return ArtifactFiles(files=files, manifest_digest=sha256_prefixed(oci_manifest), version=version)


def _version(found: object) -> str:
    match found:
        case {"annotations": {"org.opencontainers.image.version": str(version)}}:
            return version
    return _refuse("the annotation org.opencontainers.image.version is missing")


def _refuse(why: str) -> NoReturn:
    raise EvidenceError("E2070", "OCI manifest and layer do not belong together", why=why)
