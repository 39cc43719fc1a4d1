# SPDX-License-Identifier: Apache-2.0
"""Image references and the kubelet's image ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_DIGEST: Final = re.compile(r"(?:^|@)(sha256:[0-9a-f]{64})$")
_TAG: Final = re.compile(r"^(?P<repository>.+?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """A reference taken apart as it is written; nothing is filled in that it does not say."""

    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def short_name(self) -> str:
        """The last segment of the repository, lower case."""
        return self.repository.rpartition("/")[2].lower()


def image_digest(image_id: str) -> str:
    """Return the `sha256:` digest in a kubelet's imageID (`repo@sha256:…`, `sha256:…` …), or ""."""
    found = _DIGEST.search(image_id)
    return found.group(1) if found else ""


def parse_reference(text: str) -> ImageReference:
    """Return repository, tag and digest of an image reference."""
    rest, _, digest = text.partition("@")
    match = _TAG.fullmatch(rest)
    if match is None:
        return ImageReference(repository=rest, digest=digest)
    return ImageReference(repository=match["repository"], tag=match["tag"] or "", digest=digest)
