# SPDX-License-Identifier: Apache-2.0
"""Attaches artifacts to an artifact, and lists them: the referrers API, else the tag `sha256-<hex>`.

GHCR, Docker Hub and the CNCF distribution have no referrers API, so the fallback is no rarity. Its index is read,
changed and written without a lock; a lost update is seen by reading again, and repaired.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from evidencerun import limits
from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import RegistryError
from evidencerun.oci import media_types
from evidencerun.oci.registry import Descriptor, RepositoryClient, index_entries

_TRIES: Final = 5
CREATED_NEVER: Final = "1970-01-01T00:00:00Z"
"""So that a second delivery makes the same bytes."""


class Way(StrEnum):
    """How a registry keeps referrers."""

    API = "referrers-api"
    TAG = "fallback-tag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What is attached: one layer, its type, and the annotations of its manifest."""

    artifact_type: str
    layer: Descriptor
    title: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Descriptors of referrers as the registry keeps them, and by which way they were found."""

    entries: tuple[Mapping[str, Any], ...]
    way: Way


def referrer_manifest(subject: Descriptor, attachment: Attachment) -> bytes:
    """Return the manifest of an attachment: deterministic, one layer, empty config."""
    empty = media_types.EMPTY_BLOB
    config = Descriptor(media_type=media_types.EMPTY, digest=sha256_prefixed(empty), size=len(empty))
    layer = attachment.layer.to_dict() | {"annotations": {"org.opencontainers.image.title": attachment.title}}
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": attachment.artifact_type,
        "config": config.to_dict(),
        "layers": [layer],
        "subject": subject.to_dict(),
        "annotations": {"org.opencontainers.image.created": CREATED_NEVER, **attachment.annotations},
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def attach_file(client: RepositoryClient, subject: Descriptor, attachment: Attachment, path: Path) -> Descriptor:
    """Push a file and its manifest, and see to it that it is listed; return the manifest's descriptor."""
    client.push_blob(media_types.EMPTY_BLOB, media_types.EMPTY)
    client.push_file(path, attachment.layer)
    manifest = client.push_manifest(referrer_manifest(subject, attachment), media_types.MANIFEST)
    ensure_listed(client, subject, manifest, attachment)
    return manifest


def list_referrers(client: RepositoryClient, digest: str, artifact_type: str = "") -> Listing:
    """Return the referrers of an artifact, of one type if asked; registries may ignore the filter, so it is redone."""
    found = _by_api(client, digest)
    listing = found if found is not None else Listing(entries=tuple(_by_tag(client, digest)), way=Way.TAG)
    entries = tuple(e for e in listing.entries if not artifact_type or e.get("artifactType") == artifact_type)
    return Listing(entries=entries, way=listing.way)


def ensure_listed(
    client: RepositoryClient,
    subject: Descriptor,
    manifest: Descriptor,
    attachment: Attachment,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Way:
    """Return by which way a referrer can be found; without the API, write the fallback index.

    Raises `RegistryError` E7423 if it is not listed in the end.
    """
    way = Way.API
    for attempt in range(_TRIES):
        listing = list_referrers(client, subject.digest)
        way = listing.way
        if any(entry.get("digest") == manifest.digest for entry in listing.entries):
            return way
        if way is Way.TAG:
            _write_fallback(client, subject, manifest, attachment, listing)
            continue
        sleep(0.2 * 2.0**attempt)
    raise RegistryError(
        "E7423",
        "the registry does not list what was attached",
        where=f"{client.repository}@{subject.digest}",
        why=f"{manifest.digest} by way of the {way}",
        fix="verify by the digest, or try again",
    )


def _by_api(client: RepositoryClient, digest: str) -> Listing | None:
    """Return the listing of the referrers API over all its pages, None if the registry has no such API."""
    entries: list[Mapping[str, Any]] = []
    link = ""
    # Pages count as well: a registry may link empty ones in a circle.
    for _ in range(limits.OCI_REFERRERS_MAX):
        page = client.read_referrers(digest, page=link)
        if page is None:
            return None
        entries += page.entries
        link = page.next_link
        if not link or len(entries) > limits.OCI_REFERRERS_MAX:
            break
    if link or len(entries) > limits.OCI_REFERRERS_MAX:
        where, why = f"{client.repository}@{digest}", f"more than {limits.OCI_REFERRERS_MAX}"
        raise RegistryError("E7422", "an artifact has too many referrers", where=where, why=why, retryable=False)
    return Listing(entries=tuple(entries), way=Way.API)


def _by_tag(client: RepositoryClient, digest: str) -> list[dict[str, Any]]:
    found = client.read_manifest(digest.replace(":", "-"))
    return index_entries(found[0], f"{client.repository}@{digest}") if found else []


def _write_fallback(
    client: RepositoryClient, subject: Descriptor, manifest: Descriptor, attachment: Attachment, listing: Listing
) -> None:
    entry = manifest.to_dict() | {
        "artifactType": attachment.artifact_type,
        "annotations": dict(attachment.annotations),
    }
    index = {
        "schemaVersion": 2,
        "mediaType": media_types.INDEX,
        "manifests": [*listing.entries, entry],
    }
    data = json.dumps(index, separators=(",", ":"), sort_keys=True).encode()
    client.push_manifest(data, media_types.INDEX, tag=subject.digest.replace(":", "-"))
