# SPDX-License-Identifier: Apache-2.0
"""Blobs, manifests and referrers of one repository (OCI distribution specification 1.1).

Bytes are pushed as they are given and never re-encoded; whatever is read is checked against its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx

from evidencerun import limits
from evidencerun.canonical import parse_json, sha256_prefixed
from evidencerun.errors import InputError, RegistryError
from evidencerun.oci import media_types
from evidencerun.oci.bodies import body_of
from evidencerun.oci.faults import mismatch
from evidencerun.oci.reference import Repository, is_digest
from evidencerun.oci.transport import Call, RegistryAccess, Transport

_OK: Final = frozenset({200})
_FOUND_OR_NOT: Final = frozenset({200, 404})
_CREATED: Final = frozenset({201})
_ACCEPTED: Final = frozenset({202})
_NO_API: Final = frozenset({200, 400, 404, 405, 406, 501})
"""What registries without the referrers API answer; 200 with something else than an index."""
_UPLOAD_TRIES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Type, digest and size of some bytes in a repository."""

    media_type: str
    digest: str
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPage:
    """One page of an index: its entries, and the link to the next page, "" on the last one."""

    entries: tuple[dict[str, Any], ...]
    next_link: str


class RepositoryClient:
    """One repository. All failures are `RegistryError`; E7420 where bytes are not those that were asked for."""

    def __init__(
        self, repository: Repository, access: RegistryAccess, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.repository = repository
        self._transport = Transport(access, transport=transport)
        self._pull = f"repository:{repository.path}:pull"
        self._push = f"repository:{repository.path}:pull,push"

    def __enter__(self) -> RepositoryClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def has_blob(self, digest: str) -> bool:
        """Tell whether the repository holds a blob; asked with push rights, as a step of pushing."""
        call = Call(method="HEAD", path=self._path(f"blobs/{digest}"), scope=self._push, accept=_FOUND_OR_NOT)
        response, _ = self._transport.send(call)
        return response.status_code == 200

    def push_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Push bytes that are in memory, if the repository does not hold them yet."""
        descriptor = Descriptor(media_type=media_type, digest=sha256_prefixed(data), size=len(data))
        if not self.has_blob(descriptor.digest):
            self._upload(lambda: iter([data] if data else []), descriptor)
        return descriptor

    def push_file(self, path: Path, descriptor: Descriptor) -> Descriptor:
        """Push a file whose digest is known, in pieces. Raises E7420 if it has another one, `OSError`."""
        found = file_digest(path)
        if found != descriptor.digest:
            raise mismatch(str(path), "the file is not the blob that it should be", f"found {found}")
        if not self.has_blob(descriptor.digest):
            self._upload(lambda: _pieces(path), descriptor)
        return descriptor

    def read_blob(self, descriptor: Descriptor, target: BinaryIO, *, max_bytes: int = limits.OCI_BLOB_MAX) -> None:
        """Write a blob to `target`; size and digest are checked before this returns."""
        where = f"{self.repository}@{descriptor.digest}"
        if descriptor.size > max_bytes:
            raise mismatch(where, "the blob is too large", f"{descriptor.size} bytes, at most {max_bytes} are read")
        digest, size = hashlib.sha256(), 0
        call = Call(method="GET", path=self._path(f"blobs/{descriptor.digest}"), scope=self._pull, accept=_OK)
        with self._transport.open(call) as response:
            for piece in body_of(response, descriptor.size):
                digest.update(piece)
                size += len(piece)
                target.write(piece)
        found = f"sha256:{digest.hexdigest()}"
        if size != descriptor.size or found != descriptor.digest:
            raise mismatch(where, "the registry gave other bytes", f"found {size} bytes with digest {found}")

    def push_manifest(self, data: bytes, media_type: str, *, tag: str = "") -> Descriptor:
        """Push a manifest or an index as it is, under its digest or under a tag."""
        descriptor = Descriptor(media_type=media_type, digest=sha256_prefixed(data), size=len(data))
        call = Call(
            method="PUT",
            path=self._path(f"manifests/{tag or descriptor.digest}"),
            scope=self._push,
            accept=_CREATED,
            headers={"Content-Type": media_type},
            content=data,
        )
        response, _ = self._transport.send(call)
        self._check_stored(response, descriptor)
        return descriptor

    def read_manifest(self, reference: str) -> tuple[bytes, Descriptor] | None:
        """Return bytes and descriptor of the manifest under a tag or digest, None if there is none."""
        response, data = self._transport.send(
            Call(
                method="GET",
                path=self._path(f"manifests/{reference}"),
                scope=self._pull,
                accept=_FOUND_OR_NOT,
                headers={"Accept": media_types.ACCEPTED},
            )
        )
        if response.status_code == 404:
            return None
        digest = sha256_prefixed(data)
        expected = reference if is_digest(reference) else response.headers.get("Docker-Content-Digest", digest)
        if digest != expected:
            where = f"{self.repository}@{reference}"
            raise mismatch(where, "the registry gave another manifest", f"found digest {digest}, expected {expected}")
        return data, Descriptor(media_type=_media_type(response), digest=digest, size=len(data))

    def read_referrers(self, digest: str, *, page: str = "") -> IndexPage | None:
        """Return one page of the referrers API: the first, or the one that `page` links to. None without the API."""
        path, headers = page or self._path(f"referrers/{digest}"), {"Accept": media_types.INDEX}
        call = Call(method="GET", path=path, scope=self._pull, accept=_NO_API, headers=headers)
        response, data = self._transport.send(call)
        if response.status_code != 200 or _media_type(response) != media_types.INDEX:
            return None
        link = response.links.get("next", {}).get("url", "")
        return IndexPage(entries=tuple(index_entries(data, f"{self.repository}: {path}")), next_link=link)

    def _upload(self, pieces: Callable[[], Iterator[bytes]], descriptor: Descriptor) -> None:
        """Upload in pieces; a broken upload is begun anew, because a piece that was sent twice would spoil it."""
        for attempt in range(1, _UPLOAD_TRIES + 1):
            try:
                self._upload_once(pieces(), descriptor)
                return
            except RegistryError as fault:
                if attempt == _UPLOAD_TRIES or not fault.retryable:
                    raise

    def _upload_once(self, pieces: Iterator[bytes], descriptor: Descriptor) -> None:
        path = self._path("blobs/uploads/")
        begin = Call(method="POST", path=path, scope=self._push, accept=_ACCEPTED, headers={"Content-Length": "0"})
        response, _ = self._transport.send(begin)
        location, offset = self._location(response), 0
        held = next(pieces, b"")
        for piece in pieces:
            response = self._send_piece("PATCH", location, held, offset, _ACCEPTED)
            location = self._location(response)
            offset += len(held)
            held = piece
        final = str(httpx.URL(location).copy_merge_params({"digest": descriptor.digest}))
        self._check_stored(self._send_piece("PUT", final, held, offset, _CREATED), descriptor)

    def _send_piece(
        self, method: str, location: str, piece: bytes, offset: int, accept: frozenset[int]
    ) -> httpx.Response:
        """Send one piece, once. A blob that fits into one piece is sent without a range."""
        headers = {"Content-Type": "application/octet-stream"}
        if offset or method == "PATCH":
            headers["Content-Range"] = f"{offset}-{offset + len(piece) - 1}"
        call = Call(
            method=method,
            path=location,
            scope=self._push,
            accept=accept,
            headers=headers,
            content=piece,
            attempts=1,
        )
        return self._transport.send(call)[0]

    def _location(self, response: httpx.Response) -> str:
        location = response.headers.get("Location", "")
        if not location:
            raise mismatch(str(self.repository), "the registry began an upload without a Location", "no header")
        return str(self._transport.url(location))

    def _check_stored(self, response: httpx.Response, descriptor: Descriptor) -> None:
        stored = response.headers.get("Docker-Content-Digest", descriptor.digest)
        if stored != descriptor.digest:
            why = f"stored {stored[:100]}, sent {descriptor.digest}"
            raise mismatch(str(self.repository), "the registry stored other bytes", why)

    def _path(self, rest: str) -> str:
        return f"{self.repository.path}/{rest}"


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip()


def index_entries(data: bytes, where: str) -> list[dict[str, Any]]:
    """Return `manifests` of an index. Raises E7422 for anything that is none."""
    try:
        document = parse_json(data, what="the index", max_bytes=limits.OCI_MANIFEST_MAX)
    except InputError as fault:
        raise RegistryError("E7422", "an index cannot be read", where=where, why=str(fault), retryable=False) from fault
    if isinstance(document, dict):
        # Go's encoder writes an empty list as null.
        entries = [] if document.get("manifests") is None else document["manifests"]
        if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
            return entries
    raise RegistryError("E7422", "an index has no list of manifests", where=where, retryable=False)


def file_digest(path: Path) -> str:
    """Return the `sha256:` digest of a file, read in pieces."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(limits.OCI_CHUNK):
            yield piece
