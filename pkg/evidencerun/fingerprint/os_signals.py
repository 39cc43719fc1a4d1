# SPDX-License-Identifier: Apache-2.0
"""What /etc/os-release and the node's image say about the operating system and its version."""

from __future__ import annotations

import re
from functools import lru_cache

from evidencerun.fingerprint.model import Observation
from evidencerun.fingerprint.node_view import Aspect
from evidencerun.fingerprint.tables import OperatingSystem, operating_systems
from evidencerun.snapshot.report import Level, Tier, UnknownReason

_NUMBERS = re.compile(r"[0-9]+")


@lru_cache(maxsize=4096)
def os_observations(release_id: str, version_id: str, image: str) -> dict[Aspect, tuple[Observation, ...]]:
    """Return the observations of name and version; empty texts stand for what was not read.

    The image's version is compared as far as both state numbers, and spelled like os-release's if they agree.
    """
    names: list[Observation] = []
    versions: list[Observation] = []
    if release_id:
        word = release_id.strip().lower()
        known = _by_id(word)
        names.append(_release(release_id, known.value if known else word, known is not None and known.sourced))
        if version_id:
            versions.append(_release(version_id, version_id))
    if image and (shown := _by_image(image)):
        row, version = shown
        names.append(_image(image, row.value, row.sourced))
        if version:
            versions.append(_image(image, _like(version, version_id, row.version_parts), row.sourced))
    elif image:
        names.append(
            Observation(
                id="node.osImage",
                tier=Tier.CLOUD,
                level=Level.API,
                raw=image,
                family="image",
                error=UnknownReason.NOT_COLLECTED,
            )
        )
    return {Aspect.OS: tuple(names), Aspect.OS_VERSION: tuple(versions)}


def _by_id(release_id: str) -> OperatingSystem | None:
    return next((row for row in operating_systems() if release_id in row.ids), None)


def _by_image(image: str) -> tuple[OperatingSystem, str] | None:
    for row in operating_systems():
        for pattern in row.images:
            if found := pattern.search(image):
                return row, found.group(1)
    return None


def _like(version: str, release_version: str, parts: int) -> str:
    ours, theirs = _NUMBERS.findall(version), _NUMBERS.findall(release_version)
    compared = min(len(ours), len(theirs), parts)
    if compared and [int(part) for part in ours[:compared]] == [int(part) for part in theirs[:compared]]:
        return release_version
    return ".".join(ours[:parts])


def _release(raw: str, value: str, sourced: bool = True) -> Observation:
    return Observation(
        id="os-release",
        tier=Tier.KERNEL,
        level=Level.KERNEL,
        raw=raw,
        value=value,
        sourced=sourced,
        family="os-release",
    )


def _image(raw: str, value: str, sourced: bool) -> Observation:
    return Observation(
        id="node.osImage",
        tier=Tier.CLOUD,
        level=Level.API,
        raw=raw,
        value=value,
        sourced=sourced,
        family="image",
    )
