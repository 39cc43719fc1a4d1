# SPDX-License-Identifier: Apache-2.0
"""manifest.json: the inventory of a bundle, and the check of a bundle's files against it (AICR's format, 1.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.canonical import parse_json, sha256_prefixed
from evidencerun.errors import EvidenceError, InputError

SCHEMA_VERSION: Final = "1.0.0"
_READABLE_VERSION: Final = re.compile(r"1\.0(\.[0-9]+)?")
_AGAIN: Final = "fetch the bundle again; if it repeats, treat it as tampered with"


class ManifestFile(BaseModel):
    """One file: its path from the bundle's root, its size in bytes, its `sha256:` digest, its media type if known."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: Annotated[str, Field(max_length=limits.BUNDLE_PATH_MAX)]
    size: Annotated[int, Field(ge=0, le=limits.BUNDLE_FILE_MAX)]
    sha256: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
    mediaType: Annotated[str, Field(max_length=128)] | None = None  # noqa: N815


class Manifest(BaseModel):
    """The inventory: every file but manifest.json, statement.intoto.json and attestation.intoto.jsonl, sorted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schemaVersion: Annotated[str, Field(max_length=16)]  # noqa: N815
    files: Annotated[list[ManifestFile], Field(min_length=1, max_length=limits.BUNDLE_FILES_MAX)]


def build_manifest(files: Mapping[str, bytes]) -> bytes:
    """Return the bytes of manifest.json for `files`.

    Raises:
        ValueError: a path that no reader would accept.

    """
    entries: list[dict[str, object]] = []
    for path in sorted(files.keys() - layout.NOT_INVENTORIED):
        if not layout.is_plain_path(path):
            raise ValueError(f"{path!r} cannot stand in a bundle")
        entry: dict[str, object] = {
            "path": path,
            "size": len(files[path]),
            "sha256": sha256_prefixed(files[path]),
        }
        if kind := layout.media_type(path):
            entry["mediaType"] = kind
        entries.append(entry)
    return layout.document_bytes({"schemaVersion": SCHEMA_VERSION, "files": entries}, sort_keys=False)


def load_manifest(data: bytes) -> Manifest:
    """Read manifest.json.

    Raises:
        EvidenceError: E2002, it breaks the format; the place is named.

    """
    try:
        plain = parse_json(data, what=layout.MANIFEST, max_bytes=limits.MANIFEST_MAX)
        manifest = Manifest.model_validate(plain)
    except InputError as fault:
        raise EvidenceError("E2002", fault.what, where=fault.where, why=fault.why, fix=_AGAIN) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _broken(place, str(first["msg"])) from fault
    if not _READABLE_VERSION.fullmatch(manifest.schemaVersion):
        raise _broken("schemaVersion", f"{manifest.schemaVersion!a} found, 1.0 or 1.0.x expected")
    _check_paths([file.path for file in manifest.files])
    return manifest


def check_inventory(files: Mapping[str, bytes], manifest: Manifest) -> None:
    """Check that `files` are exactly those of the manifest, byte for byte, beside the three exempt names.

    Raises:
        EvidenceError: E2003 a file differs, E2004 one is missing, E2005 one is not inventoried.

    """
    listed = {file.path: file for file in manifest.files}
    if extra := sorted(files.keys() - listed.keys() - layout.NOT_INVENTORIED):
        raise EvidenceError(
            "E2005",
            "a file is in the bundle that the manifest does not list",
            where=ascii(extra[0])[1:-1],
            why=f"{len(extra)} such file{'' if len(extra) == 1 else 's'}",
            fix="remove it if you put it there; otherwise do not use this bundle",
        )
    for path, file in listed.items():
        if path not in files:
            raise EvidenceError("E2004", "a file that the manifest lists is missing", where=path, fix=_AGAIN)
        found = sha256_prefixed(files[path])
        if found != file.sha256 or len(files[path]) != file.size:
            raise EvidenceError(
                "E2003",
                "a file differs from the manifest",
                where=path,
                why=f"manifest {file.sha256}, {file.size} bytes; file {found}, {len(files[path])} bytes",
                fix=_AGAIN,
            )


def _check_paths(paths: list[str]) -> None:
    for path in paths:
        if not layout.is_plain_path(path) or path in layout.NOT_INVENTORIED:
            raise _broken("files", f"the path {path!a} cannot be inventoried")
    if paths != sorted(set(paths)):
        raise _broken("files", "the paths are not sorted, or one stands twice")
    folded = {path.lower() for path in [*paths, *layout.NOT_INVENTORIED]}
    if len(folded) != len(paths) + len(layout.NOT_INVENTORIED):
        raise _broken("files", "two paths differ in upper and lower case only")
    if any(path[: end.start()] in folded for path in folded for end in re.finditer("/", path)):
        raise _broken("files", "a path is a file and a folder")
    if layout.RECIPE not in paths:
        raise _broken("files", f"{layout.RECIPE} is not listed")


def _broken(where: str, why: str) -> EvidenceError:
    place = f"{layout.MANIFEST} {where}".strip()
    return EvidenceError("E2002", "the manifest breaks its format", where=place, why=why, fix=_AGAIN)
