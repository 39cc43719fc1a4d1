# SPDX-License-Identifier: Apache-2.0
"""Names of repositories: `registry.example.com:5000/team/evidence`.

The registry is always named: a bare `team/evidence` would silently mean Docker Hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from evidencerun.errors import InputError

_HOST: Final = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_PATH: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_FIX: Final = "write it like registry.example.com/team/evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository: `registry` is host and port as written, `path` the name inside it."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


def parse_repository(text: str) -> Repository:
    """Return the repository. Raises `InputError` E7401 for anything that is none, with what is wrong."""
    registry, _, path = text.partition("/")
    if not path or not _HOST.fullmatch(registry) or not _is_host(registry):
        why = f"{registry[:80]!r} is no registry's host name"
        raise InputError("E7401", f"{text[:120]!r} names no registry", why=why, fix=_FIX)
    if len(path) > 255 or not _PATH.fullmatch(path):
        why = f"{path[:80]!r}: lowercase letters, digits and single separators (. _ __ -) are allowed, no tag"
        raise InputError("E7401", f"{text[:120]!r} is no repository", why=why, fix=_FIX)
    return Repository(registry=registry, path=path)


def is_digest(text: str) -> bool:
    """Tell whether a text is a sha256 digest in its one spelling."""
    return _DIGEST.fullmatch(text) is not None


def _is_host(text: str) -> bool:
    """Docker's rule: a first part without dot or colon is a host only if it is `localhost`."""
    return "." in text or ":" in text or text == "localhost"
