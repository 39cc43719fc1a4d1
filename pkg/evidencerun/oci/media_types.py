# SPDX-License-Identifier: Apache-2.0
"""Media types of the OCI image specification, and of what we attach."""

from typing import Final

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
TAR_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
SIGSTORE_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
LOGS: Final = "application/vnd.evidencerun.logs.v1"
ACCEPTED: Final = ", ".join(
    (
        MANIFEST,
        INDEX,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
"""What we ask for when reading a manifest; registries answer 404 to clients that accept too little."""
EMPTY_BLOB: Final = b"{}"
"""The content of the empty config, as the image specification fixes it."""
