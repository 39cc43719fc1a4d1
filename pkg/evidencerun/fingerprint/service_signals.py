# SPDX-License-Identifier: Apache-2.0
"""What providerID, versions, node image and labels say about the Kubernetes service.

A cloud is not a service: `aws://` only supports `eks`. Two independent families of signals, or one that only the
service itself writes, resolve it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from evidencerun.fingerprint.model import Observation, Rank
from evidencerun.fingerprint.tables import ServiceRow, services
from evidencerun.snapshot.provider import scheme_of
from evidencerun.snapshot.report import Level, Tier


def provider_observations(provider_id: str) -> Iterator[Observation]:
    """Yield what a providerID says; only its scheme, or the part that decided, is kept as `raw`."""
    scheme = scheme_of(provider_id)
    if not scheme:
        return
    for row in services():
        if found := _search(row.provider_ids, provider_id):
            rank = Rank.FALLS_BACK if row.platform else Rank.DECIDES
            yield _signal("k8s.providerID", found, row, family="providerID", rank=rank)
        elif scheme in row.clouds:
            yield _signal("k8s.providerID", f"{scheme}://", row, family="providerID", rank=Rank.SUPPORTS)


def version_observations(version: str, signal_id: str) -> Iterator[Observation]:
    """Yield what the version of a kubelet or of the API server says."""
    for row in _by_version(version):
        yield _signal(signal_id, version, row, family="version")


def image_observations(image: str) -> Iterator[Observation]:
    """Yield what the node's image says."""
    for row in _by_image(image):
        yield _signal("node.osImage", image, row, family="image")


def label_observations(labels: Mapping[str, str]) -> Iterator[Observation]:
    """Yield what labels say: one per service, naming the first label."""
    for row in _by_labels(frozenset(labels)):
        key = row.label_of(labels)
        yield _signal("label.service", key, row, family="label", tier=Tier.LABEL)


@lru_cache(maxsize=1024)
def _by_version(version: str) -> tuple[ServiceRow, ...]:
    return tuple(row for row in services() if _search(row.kubelet, version))


@lru_cache(maxsize=1024)
def _by_image(image: str) -> tuple[ServiceRow, ...]:
    return tuple(row for row in services() if _search(row.images, image))


@lru_cache(maxsize=1024)
def _by_labels(keys: frozenset[str]) -> tuple[ServiceRow, ...]:
    return tuple(row for row in services() if row.label_of(keys))


def _search(patterns: tuple[re.Pattern[str], ...], text: str) -> str:
    """Return the part of the text that the first fitting pattern found, without identifiers around it."""
    for pattern in patterns:
        if found := pattern.search(text):
            return found.group()[:64] if pattern.pattern.endswith("://") else pattern.pattern
    return ""


def _signal(
    signal_id: str, raw: str, row: ServiceRow, *, family: str, tier: Tier = Tier.CLOUD, rank: Rank = Rank.DECIDES
) -> Observation:
    return Observation(
        id=signal_id,
        tier=tier,
        level=Level.API,
        raw=raw,
        value=row.value,
        sourced=row.sourced,
        family=family,
        rank=rank,
    )
