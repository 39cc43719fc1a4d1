# SPDX-License-Identifier: Apache-2.0
"""The bundle as an OCI artifact of AICR's shape (AICR's format, 1.10): made once, signed, stored, pushed unchanged.

One tar+gzip layer holds the directory without the attestation; the attestation becomes a referrer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from evidencerun.bundle import layout
from evidencerun.bundle.archive import pack
from evidencerun.canonical import sha256_prefixed

ARTIFACT_TYPE: Final = "application/vnd.nvidia.aicr.artifact"
MANIFEST_MEDIA_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
LAYER_MEDIA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_MEDIA_TYPE: Final = "application/vnd.oci.empty.v1+json"
EMPTY_CONFIG: Final = b"{}"
CREATED: Final = "1970-01-01T00:00:00Z"
SOURCE: Final = "https://evidencerun.dev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The three blobs of the artifact and the digest (`sha256:`) of its manifest, the signature's first subject."""

    layer: bytes
    config: bytes
    manifest: bytes
    manifest_digest: str


def build_artifact(files: Mapping[str, bytes], *, version: str) -> Artifact:
    """Return the artifact of `files`; an attestation among them is left out.

    `version` is the producer's (`evidencerun/1.2.3`). Gzip output differs between builds of zlib, so the bytes
    returned here are the only ones that the digest holds for.
    """
    layer, tar = pack({path: data for path, data in files.items() if path != layout.ATTESTATION}, 0)
    manifest = manifest_bytes(layer, tar, version)
    return Artifact(layer=layer, config=EMPTY_CONFIG, manifest=manifest, manifest_digest=sha256_prefixed(manifest))


def manifest_bytes(layer: bytes, tar: str, version: str) -> bytes:
    """Return the artifact's manifest for a layer and the digest of the tar archive in it."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_MEDIA_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": {
            "mediaType": CONFIG_MEDIA_TYPE,
            "digest": sha256_prefixed(EMPTY_CONFIG),
            "size": len(EMPTY_CONFIG),
        },
        "layers": [
            {
                "mediaType": LAYER_MEDIA_TYPE,
                "digest": sha256_prefixed(layer),
                "size": len(layer),
                "annotations": {
                    "io.deis.oras.content.digest": tar,
                    "io.deis.oras.content.unpack": "true",
                    "org.opencontainers.image.title": ".",
                },
            }
        ],
        "annotations": {
            "org.opencontainers.image.created": CREATED,
            "org.opencontainers.image.description": "Signed evidence about a cluster (recipe-evidence/v3).",
            "org.opencontainers.image.source": SOURCE,
            "org.opencontainers.image.title": "EvidenceRun evidence bundle",
            "org.opencontainers.image.vendor": "EvidenceRun",
            "org.opencontainers.image.version": version,
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()
