# SPDX-License-Identifier: Apache-2.0
"""Names and places of the files in a bundle (docs/spec §1)."""

from __future__ import annotations

import json
import re
from typing import Final

from evidencerun import limits

RECIPE: Final = "recipe.yaml"
SNAPSHOT: Final = "snapshot.yaml"
BOM: Final = "bom.cdx.json"
RUN: Final = "run.json"
NODES: Final = "nodes.json"
VERIFY_PAGE: Final = "VERIFY.md"
MANIFEST: Final = "manifest.json"
STATEMENT: Final = "statement.intoto.json"
ATTESTATION: Final = "attestation.intoto.jsonl"
LOGS_ARCHIVE: Final = "evidence-logs.tar.gz"

NOT_INVENTORIED: Final = frozenset({MANIFEST, STATEMENT, ATTESTATION})
"""The three names that manifest.json leaves out: itself, and what is made from it."""

_MEDIA_TYPES: Final = (
    (".cdx.json", "application/vnd.cyclonedx+json"),
    (".intoto.jsonl", "application/vnd.in-toto+jsonl"),
    (".json", "application/json"),
    (".yaml", "application/yaml"),
    (".yml", "application/yaml"),
    (".log", "text/plain"),
)
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_+@=-][A-Za-z0-9._+@=-]*")


def ctrf_path(phase: str) -> str:
    """Return the place of a phase's CTRF report."""
    return f"ctrf/{phase}.json"


def page_path(phase: str) -> str:
    """Return the place of a phase's readable page."""
    return f"evidence/{phase}.md"


def log_path(phase: str, check: str, attempt: int) -> str:
    """Return the place of the log of one attempt."""
    return f"logs/{phase}/{check}.{attempt}.log"


def media_type(path: str) -> str | None:
    """Return the media type that manifest.json gives for `path`; `None` where the member is left out."""
    return next((kind for suffix, kind in _MEDIA_TYPES if path.endswith(suffix)), None)


def is_plain_path(path: str) -> bool:
    """Return whether `path` is a relative path that means the same everywhere.

    Segments of ASCII letters, digits and `._+@=-` that do not begin with a full stop, joined by `/`; at most
    `limits.BUNDLE_PATH_MAX` characters. That leaves out `..`, absolute paths, backslashes, drive letters and anything
    that a terminal or a file system could take for something else.
    """
    return len(path) <= limits.BUNDLE_PATH_MAX and all(_SEGMENT.fullmatch(part) for part in path.split("/"))


def document_bytes(value: object, *, sort_keys: bool = True) -> bytes:
    """Return a JSON document of ours: two-space indentation, UTF-8, sorted keys, a final newline."""
    return (json.dumps(value, ensure_ascii=False, indent=2, sort_keys=sort_keys, allow_nan=False) + "\n").encode()
